//! Databases behind a server, as rules ask them: the real ones, started for the test.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgresql")]
mod postgresql;
#[cfg(feature = "redis")]
mod redis;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let trials: Vec<Vec<Trial>> = vec![
        #[cfg(feature = "mysql")]
        mysql::trials(),
        #[cfg(feature = "postgresql")]
        postgresql::trials(),
        #[cfg(feature = "redis")]
        redis::trials(),
    ];
    trials.into_iter().flatten().collect()
}
