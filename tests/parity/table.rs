//! The table of results.

use crate::compare::Errors;

/// One case.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its errors.
    pub errors: Errors,
    /// Why it failed.
    pub problem: Option<String>,
}

/// Prints all rows, then what is wrong with those that failed.
pub fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    println!("{:width$}  {:>9}  {:>9}  {:>10}  verdict", "case", "absolute", "relative", "of allowed");
    for Row { name, errors, problem } in rows {
        let Errors { absolute, relative, share, .. } = errors;
        let verdict = if problem.is_none() { "pass" } else { "FAIL" };
        println!("{name:width$}  {absolute:>9.2e}  {relative:>9.2e}  {share:>10.4}  {verdict}");
    }
    for row in rows {
        if let Some(problem) = &row.problem {
            println!("{}: {problem}", row.name);
        }
    }
}
