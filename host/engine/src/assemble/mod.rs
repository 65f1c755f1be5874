//! A checked config to a runnable model and trainer.
