CREATE TABLE `patients` (
    `id` BINARY(16) NOT NULL,
    `clinic` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `name` VARBINARY(269) NOT NULL, -- sealed text: tokens of at most 269 bytes
    `ssn` VARCHAR(108) CHARACTER SET ascii COLLATE ascii_bin, -- sealed text: tokens of at most 108 characters
    `ssn_index` VARBINARY(36), -- blind index: 36 bytes
    PRIMARY KEY (`clinic`, `id`)
);
CREATE UNIQUE INDEX `patients_ssn_index` ON `patients` (`ssn_index`);

CREATE TABLE `visits` (
    `seq` BIGINT NOT NULL AUTO_INCREMENT,
    `id` BINARY(16) NOT NULL,
    `patient` BINARY(16) NOT NULL,
    `day` DATE NOT NULL,
    `price` NUMERIC(10,2),
    `note` LONGBLOB NOT NULL, -- sealed json: tokens of 61 bytes and the padded value
    `seen` VARBINARY(93) NOT NULL, -- sealed timestamp: tokens of at most 93 bytes
    PRIMARY KEY (`seq`),
    UNIQUE (`id`)
);
