"""What does `dg scaffold defs` write? A complete example that works, with the user's name on it."""

from pathlib import Path

import dagster as dg

TEMPLATES = Path(__file__).parent / "templates"


class ExampleScaffolder(dg.Scaffolder):
    """Writes the documents of a working example into defs.yaml, and the contract beside it."""

    documents: tuple[str, ...] = ()

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        name = request.target_path.name.replace("-", "_").lower()
        texts = [(TEMPLATES / f"{document}.yaml").read_text().replace("NAME", name) for document in self.documents]
        (request.target_path / "defs.yaml").write_text("---\n".join(texts))
        (request.target_path / "contract.yaml").write_text((TEMPLATES / "contract.yaml").read_text())


class StreamScaffolder(ExampleScaffolder):
    documents = ("stream",)


class ViewScaffolder(ExampleScaffolder):
    documents = ("stream", "view")


class OnDemandScaffolder(ExampleScaffolder):
    documents = ("stream", "view", "on_demand")


class LineScaffolder(ExampleScaffolder):
    documents = ("stream", "view", "line")
