-- A training diary as it might have grown over ten years on MySQL or MariaDB: what docs/existing-database.md
-- moves to devices. It has what such databases have: numbers as keys, a table keyed by two columns, dates that
-- are none, money, a picture, columns that nobody remembers.

SET sql_mode = 'NO_ENGINE_SUBSTITUTION';
SET time_zone = '+00:00';

CREATE TABLE users (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email VARCHAR(190) NOT NULL UNIQUE,
    name VARCHAR(100),
    password_hash VARCHAR(255)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE exercises (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    muscle ENUM('legs', 'back', 'chest', 'arms') NOT NULL DEFAULT 'legs',
    is_bodyweight TINYINT(1) NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE prices (
    code VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    title VARCHAR(100) NOT NULL,
    amount DECIMAL(10, 2) NOT NULL,
    valid_from DATE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE plans (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id INT UNSIGNED NOT NULL,
    parent_id BIGINT NULL,
    title VARCHAR(200) NOT NULL,
    `order` INT NOT NULL DEFAULT 0,
    settings JSON,
    created_at DATETIME NOT NULL,
    updated_at TIMESTAMP(3) NULL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_id) REFERENCES plans (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE workouts (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id INT UNSIGNED NOT NULL,
    plan_id BIGINT NULL,
    coach_id INT UNSIGNED NULL,
    note TEXT,
    started_at DATETIME(3) NOT NULL,
    day DATE,
    length TIME,
    steps BIGINT,
    photo MEDIUMBLOB,
    note_length INT AS (CHAR_LENGTH(note)) VIRTUAL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    FOREIGN KEY (plan_id) REFERENCES plans (id) ON DELETE SET NULL,
    FOREIGN KEY (coach_id) REFERENCES users (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE sets (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    workout_id BIGINT NOT NULL,
    exercise_id INT UNSIGNED NOT NULL,
    reps SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    weight DECIMAL(6, 2),
    is_done BIT(1) NOT NULL DEFAULT b'0',
    FOREIGN KEY (workout_id) REFERENCES workouts (id) ON DELETE CASCADE,
    FOREIGN KEY (exercise_id) REFERENCES exercises (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE tags (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id INT UNSIGNED NOT NULL,
    label VARCHAR(50) NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE workout_tags (
    workout_id BIGINT NOT NULL,
    tag_id INT NOT NULL,
    PRIMARY KEY (workout_id, tag_id),
    FOREIGN KEY (workout_id) REFERENCES workouts (id) ON DELETE CASCADE,
    FOREIGN KEY (tag_id) REFERENCES tags (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE schema_migrations (version VARCHAR(50) NOT NULL PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE visits (at DATETIME, address VARCHAR(50)) ENGINE=InnoDB;
CREATE VIEW heavy_sets AS SELECT * FROM sets WHERE weight > 100;

-- As a dump has it: rows may come before those that they name, and some name none.
SET foreign_key_checks = 0;

INSERT INTO users (id, email, name) VALUES
    (1, 'Ann@Example.com', 'Ann'), (2, 'ben@example.com', 'Ben'), (3, 'gone@example.com', NULL);
INSERT INTO exercises (id, name, muscle, is_bodyweight) VALUES
    (1, 'Squat', 'legs', 0), (2, 'Pull-up', 'back', 1), (3, 'Bench press', 'chest', 0);
INSERT INTO prices VALUES ('month', 'A month', 29.90, '2026-01-01'), ('year', 'A year', 299.00, NULL);
INSERT INTO plans (id, user_id, parent_id, title, `order`, settings, created_at, updated_at) VALUES
    (10, 1, NULL, 'Strength', 1, '{"rest": 90, "icon": "💪"}', '2024-03-31 01:30:00', '2024-07-01 10:00:00.250'),
    (11, 1, 12, 'Week one', 0, NULL, '2024-07-01 12:00:00', NULL),
    (12, 1, 10, 'Block one', 0, '[]', '0000-00-00 00:00:00', NULL),
    (20, 2, NULL, 'Running 🏃', 0, NULL, '1969-12-31 23:59:59', NULL);
INSERT INTO workouts (id, user_id, plan_id, coach_id, note, started_at, day, length, steps, photo) VALUES
    (100, 1, 11, 2, 'Felt strong 💪🏽 — naïve', '2024-07-01 18:30:00.125', '2024-07-01', '01:05:00', 9007199254740992, 0x89504E47),
    (101, 1, NULL, 3, NULL, '2024-07-03 07:00:00', '0000-00-00', NULL, 9223372036854775807, NULL),
    (200, 2, 20, NULL, '', '2024-07-02 06:00:00', NULL, '838:59:59', 0, NULL),
    (300, 3, NULL, NULL, 'Of somebody without an account', '2024-07-02 06:00:00', NULL, NULL, NULL, NULL);
INSERT INTO sets (id, workout_id, exercise_id, reps, weight, is_done) VALUES
    (1000, 100, 1, 5, 102.50, b'1'), (1001, 100, 2, 65535, NULL, b'0'), (1002, 101, 3, 8, 9999.99, b'1'),
    (2000, 200, 1, 0, -0.01, b'0'), (3000, 300, 1, 3, 20.00, b'1');
INSERT INTO tags (id, user_id, label) VALUES (1, 1, 'early'), (2, 1, 'Straße'), (3, 2, 'early');
INSERT INTO workout_tags VALUES (100, 1), (100, 2), (101, 1), (200, 3);
INSERT INTO schema_migrations VALUES ('2016_01_01');
-- Of a time without foreign keys.
INSERT INTO sets (id, workout_id, exercise_id, reps) VALUES (9999, 4711, 1, 1);
