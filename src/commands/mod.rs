//! What the program does beside serving, one file a command: arguments in, an exit code out.

pub mod queue;
pub mod sendmail;
