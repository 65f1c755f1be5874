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

/// Prints a row for each family of cases, in Markdown.
pub fn print_families(rows: &[Row]) {
    println!(
        "| Family | Cases | Failed | Largest absolute error | Largest relative error | Largest part of the allowed error |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut families: std::collections::BTreeMap<&str, Vec<&Row>> = std::collections::BTreeMap::new();
    for row in rows {
        families.entry(row.name.split("__").next().unwrap_or(&row.name)).or_default().push(row);
    }
    for (family, rows) in families {
        let largest = |error: fn(&Errors) -> f64| rows.iter().map(|row| error(&row.errors)).fold(0.0, f64::max);
        let failed = rows.iter().filter(|row| row.problem.is_some()).count();
        let (absolute, relative) = (largest(|errors| errors.absolute), largest(|errors| errors.relative));
        let share = largest(|errors| errors.share);
        println!("| `{family}` | {} | {failed} | {absolute:.1e} | {relative:.1e} | {share:.3} |", rows.len());
    }
}
