CREATE TABLE ledger_versions (
    id SERIAL NOT NULL,
    line TEXT NOT NULL,
    version TEXT NOT NULL,
    segment TEXT NOT NULL,
    task TEXT NOT NULL,
    estimator TEXT NOT NULL,
    candidate TEXT NOT NULL,
    as_of DATE NOT NULL,
    train_from DATE NOT NULL,
    train_to DATE NOT NULL,
    holdout_from DATE NOT NULL,
    holdout_to DATE NOT NULL,
    rows BIGINT NOT NULL,
    positives BIGINT,
    configuration JSON NOT NULL,
    tables JSON NOT NULL,
    validation JSON NOT NULL,
    importances JSON NOT NULL,
    owner TEXT NOT NULL,
    archive_uri TEXT NOT NULL,
    run_id TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (line, version)
);

CREATE INDEX ledger_versions_of_node ON ledger_versions (line, segment, as_of);

CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the ledger is append-only: add a decision instead'; END $$;

CREATE TRIGGER ledger_versions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_versions FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();

CREATE TABLE ledger_issues (
    id SERIAL NOT NULL,
    stream TEXT NOT NULL,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    day DATE,
    event TEXT NOT NULL,
    told TEXT NOT NULL,
    owner TEXT NOT NULL,
    who TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ledger_issues_of_stream ON ledger_issues (stream, id);

CREATE TRIGGER ledger_issues_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_issues FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();

CREATE TABLE ledger_evaluations (
    id SERIAL NOT NULL,
    line TEXT NOT NULL,
    segment TEXT NOT NULL,
    version TEXT NOT NULL,
    incumbent_version TEXT,
    as_of DATE NOT NULL,
    holdout_from DATE NOT NULL,
    holdout_to DATE NOT NULL,
    rows BIGINT NOT NULL,
    challenger JSON NOT NULL,
    incumbent JSON NOT NULL,
    naive JSON NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(line, version) REFERENCES ledger_versions (line, version),
    FOREIGN KEY(line, incumbent_version) REFERENCES ledger_versions (line, version)
);

CREATE INDEX ledger_evaluations_of_version ON ledger_evaluations (line, segment, version);

CREATE TRIGGER ledger_evaluations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_evaluations FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();

CREATE TABLE ledger_decisions (
    id SERIAL NOT NULL,
    line TEXT NOT NULL,
    segment TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    as_of DATE NOT NULL,
    verdict TEXT NOT NULL,
    version TEXT,
    champion TEXT,
    reason TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    evidence JSON NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (line, segment, sequence),
    FOREIGN KEY(line, version) REFERENCES ledger_versions (line, version),
    FOREIGN KEY(line, champion) REFERENCES ledger_versions (line, version)
);

CREATE TRIGGER ledger_decisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_decisions FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
