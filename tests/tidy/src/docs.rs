//! What the docs point at exists.

use crate::repository::{File, Finding, Repository};

/// Every relative link in a Markdown file leads to a file or folder of the repository.
pub fn links_lead_somewhere(repository: &Repository) -> Vec<Finding> {
    let exists = |path: &str| {
        let folder = format!("{path}/");
        path.is_empty() || repository.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    };
    let broken = relative_links(repository).filter(|link| !exists(&link.path));
    broken.map(|link| link.file.finding(link.line, format!("the link `{}` leads nowhere", link.target))).collect()
}

/// Every `#anchor` of a link is a heading of the file it leads to.
pub fn anchors_are_headings(repository: &Repository) -> Vec<Finding> {
    let broken = relative_links(repository).filter(|link| {
        let Some(anchor) = &link.anchor else { return false };
        let file = repository.get(&link.path).filter(|file| file.is_a("md"));
        file.is_some_and(|file| !anchors(&file.text).contains(anchor))
    });
    broken.map(|link| link.file.finding(link.line, format!("`{}` names no heading", link.target))).collect()
}

/// Every file in `configs` is named in the docs: a config that nobody is told of is dead.
pub fn every_config_is_named(repository: &Repository) -> Vec<Finding> {
    let docs: Vec<&File> = markdown(repository).collect();
    let configs = repository.files.iter().filter(|file| file.path.starts_with("configs/") && file.is_a("toml"));
    let unnamed = configs.filter(|config| !docs.iter().any(|doc| doc.text.contains(&config.path)));
    unnamed.map(|config| config.finding(1, format!("no Markdown file names `{}`", config.path))).collect()
}

struct Link<'a> {
    file: &'a File,
    line: usize,
    target: String,
    /// The file or folder it leads to, below the root; the linking file itself for a bare anchor.
    path: String,
    anchor: Option<String>,
}

fn markdown(repository: &Repository) -> impl Iterator<Item = &File> {
    repository.files.iter().filter(|file| file.is_a("md"))
}

fn relative_links(repository: &Repository) -> impl Iterator<Item = Link<'_>> {
    markdown(repository).flat_map(|file| {
        prose(&file.text).into_iter().flat_map(move |(line, text)| {
            let is_relative = |target: &String| !target.contains("://") && !target.starts_with("mailto:");
            targets(&text).into_iter().filter(is_relative).map(move |target| link(file, line, target))
        })
    })
}

fn link(file: &File, line: usize, target: String) -> Link<'_> {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (target.as_str(), None),
    };
    let path = if path.is_empty() { file.path.clone() } else { resolved(&file.path, path) };
    Link { file, line, target, path, anchor }
}

/// The lines (from 1) of a Markdown text outside code blocks, without inline code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            lines.push((index + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("code")));
        }
    }
    lines
}

/// The targets of `[text](target)` and `[name]: target` on one line.
fn targets(line: &str) -> Vec<String> {
    let until_end = |rest: &str| rest.split([')', ' ']).next().unwrap_or_default().to_owned();
    let mut targets: Vec<String> =
        line.match_indices("](").map(|(at, mark)| until_end(&line[at + mark.len()..])).collect();
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.push(until_end(target));
    }
    targets
}

/// `path`, as written in the file `from`, below the root.
fn resolved(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors that a Markdown file's headings get on GitHub.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if in_block || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let slug: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let repeats = anchors.iter().filter(|anchor| **anchor == slug).count();
        anchors.push(slug.clone());
        if repeats > 0 {
            anchors.push(format!("{slug}-{repeats}"));
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: crate::Rule, text: &str) -> Vec<String> {
        let other = "# One `two`: three\n```\n# no heading\n```\n## Again\n## Again\n";
        let repository = Repository::of(&[("docs/a.md", text), ("docs/b.md", other), ("src/c.rs", "")]);
        rule(&repository).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        assert_eq!(check(links_lead_somewhere, "\nsee [d](d.md)"), ["docs/a.md:2: the link `d.md` leads nowhere"]);
        assert_eq!(check(links_lead_somewhere, "[x]: ../c.rs").len(), 1);
    }

    #[test]
    fn good_links_and_code_are_fine() {
        let text = "[b](b.md) [c](../src/c.rs) [s](../src) [r](..) [w](https://a.b/c) [h](#top) `[d](d.md)`\n```\n[d](d.md)\n```\n";
        assert!(check(links_lead_somewhere, text).is_empty());
    }

    #[test]
    fn an_anchor_that_is_no_heading_is_found() {
        assert!(check(anchors_are_headings, "# Top\n[b](b.md#one-two-three) [h](#top) [2](b.md#again-1)").is_empty());
        assert_eq!(
            check(anchors_are_headings, "[b](b.md#no-heading)"),
            ["docs/a.md:1: `b.md#no-heading` names no heading"]
        );
        assert_eq!(check(anchors_are_headings, "[h](#top)").len(), 1);
    }

    #[test]
    fn a_config_that_no_doc_names_is_found() {
        let repository =
            Repository::of(&[("README.md", "Try `configs/a.toml`."), ("configs/a.toml", ""), ("configs/b.toml", "")]);
        let findings = every_config_is_named(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "configs/b.toml");
    }
}
