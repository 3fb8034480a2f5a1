CREATE TABLE ledger_versions (
    id INTEGER NOT NULL,
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
    started_at DATETIME NOT NULL,
    ended_at DATETIME NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (line, version)
);

CREATE TABLE ledger_decisions (
    id INTEGER NOT NULL,
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
    decided_at DATETIME NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (line, segment, sequence),
    FOREIGN KEY(line, version) REFERENCES ledger_versions (line, version),
    FOREIGN KEY(line, champion) REFERENCES ledger_versions (line, version)
);

CREATE TABLE ledger_evaluations (
    id INTEGER NOT NULL,
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

CREATE TABLE ledger_issues (
    id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    day DATE,
    event TEXT NOT NULL,
    told TEXT NOT NULL,
    owner TEXT NOT NULL,
    who TEXT NOT NULL,
    at DATETIME NOT NULL,
    PRIMARY KEY (id)
);

CREATE TRIGGER ledger_decisions_no_delete BEFORE DELETE ON ledger_decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_decisions_no_replace BEFORE INSERT ON ledger_decisions WHEN EXISTS (SELECT 1 FROM ledger_decisions WHERE (id = NEW.id) OR (line = NEW.line AND segment = NEW.segment AND sequence = NEW.sequence)) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_decisions_no_update BEFORE UPDATE ON ledger_decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_evaluations_no_delete BEFORE DELETE ON ledger_evaluations BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_evaluations_no_replace BEFORE INSERT ON ledger_evaluations WHEN EXISTS (SELECT 1 FROM ledger_evaluations WHERE (id = NEW.id)) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_evaluations_no_update BEFORE UPDATE ON ledger_evaluations BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE INDEX ledger_evaluations_of_version ON ledger_evaluations (line, segment, version);

CREATE TRIGGER ledger_issues_no_delete BEFORE DELETE ON ledger_issues BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_issues_no_replace BEFORE INSERT ON ledger_issues WHEN EXISTS (SELECT 1 FROM ledger_issues WHERE (id = NEW.id)) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_issues_no_update BEFORE UPDATE ON ledger_issues BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE INDEX ledger_issues_of_stream ON ledger_issues (stream, id);

CREATE TRIGGER ledger_versions_no_delete BEFORE DELETE ON ledger_versions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_versions_no_replace BEFORE INSERT ON ledger_versions WHEN EXISTS (SELECT 1 FROM ledger_versions WHERE (id = NEW.id) OR (line = NEW.line AND version = NEW.version)) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE TRIGGER ledger_versions_no_update BEFORE UPDATE ON ledger_versions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a decision instead'); END;

CREATE INDEX ledger_versions_of_node ON ledger_versions (line, segment, as_of);
