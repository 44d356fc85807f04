//! What the program does, one file a command: arguments in, an exit code out.

pub mod configuration;
pub mod install_units;
pub mod queue;
pub mod report;
pub mod rules;
pub mod sendmail;
pub mod serve;
