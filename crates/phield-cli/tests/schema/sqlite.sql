CREATE TABLE "patients" (
    "id" BLOB NOT NULL,
    "clinic" TEXT NOT NULL,
    "name" BLOB NOT NULL, -- sealed text: tokens of at most 269 bytes
    "ssn" TEXT, -- sealed text: tokens of at most 108 characters
    "ssn_index" BLOB, -- blind index: 36 bytes
    PRIMARY KEY ("clinic", "id")
);
CREATE UNIQUE INDEX "patients_ssn_index" ON "patients" ("ssn_index");

CREATE TABLE "visits" (
    "seq" INTEGER PRIMARY KEY AUTOINCREMENT,
    "id" BLOB NOT NULL,
    "patient" BLOB NOT NULL,
    "day" DATE NOT NULL,
    "price" NUMERIC(10,2),
    "note" BLOB NOT NULL, -- sealed json: tokens of 61 bytes and the padded value
    "seen" BLOB NOT NULL, -- sealed timestamp: tokens of at most 93 bytes
    UNIQUE ("id")
);
