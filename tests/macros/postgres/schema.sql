CREATE TABLE patients (
    id UUID NOT NULL PRIMARY KEY,
    name BYTEA NOT NULL,
    ssn BYTEA NOT NULL,
    ssn_index BYTEA NOT NULL,
    note TEXT,
    clinic BIGINT NOT NULL
);
