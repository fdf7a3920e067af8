//! The migrations of both engines, embedded; see `migrations/README.md`.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// `(version, description, text)`.
type Step = (i64, &'static str, &'static str);

macro_rules! step {
    ($engine:literal, $version:literal, $name:literal) => {
        (
            $version,
            $name,
            include_str!(concat!(
                "../../../migrations/",
                $engine,
                "/000",
                $version,
                "_",
                $name,
                ".sql"
            )),
        )
    };
}

const SQLITE: &[Step] = &[
    step!("sqlite", 1, "initial"),
    step!("sqlite", 2, "associations"),
    step!("sqlite", 3, "change_facts"),
];

const POSTGRES: &[Step] = &[
    step!("postgres", 1, "initial"),
    step!("postgres", 2, "associations"),
    step!("postgres", 3, "change_facts"),
];

/// Brings a SQLite file to this release's tables.
pub(super) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// Brings a PostgreSQL database to this release's tables; an advisory lock lets one replica at a
/// time do it.
pub(super) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

fn migrator(steps: &[Step]) -> Migrator {
    let migrations = steps
        .iter()
        .map(|(version, description, text)| {
            Migration::new(
                *version,
                Cow::Borrowed(*description),
                MigrationType::Simple,
                text.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_steps() {
        let names = |steps: &[Step]| -> Vec<(i64, &str)> {
            steps
                .iter()
                .map(|(version, name, _)| (*version, *name))
                .collect()
        };
        assert_eq!(names(SQLITE), names(POSTGRES));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        for (engine, steps) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let files = std::fs::read_dir(format!("{folder}/{engine}"))
                .unwrap()
                .count();
            assert_eq!(files, steps.len(), "{engine}: a file is not embedded");
        }
    }
}
