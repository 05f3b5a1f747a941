CREATE TABLE patients (
    id BLOB NOT NULL PRIMARY KEY,
    name BLOB NOT NULL,
    ssn BLOB NOT NULL,
    ssn_index BLOB NOT NULL,
    note TEXT,
    clinic INTEGER NOT NULL
);
