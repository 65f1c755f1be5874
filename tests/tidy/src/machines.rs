//! What is committed works on every machine, so it names none.

use crate::repository::{Finding, Repository};

/// Folders of one machine or one user. Spelled in two parts, as this file is held to the rule too.
const FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tm", "p/")];

/// Hosts of package registries: cargo, rustup and pip know them, and a mirror may stand for them.
const HOSTS: [&str; 7] = [
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("crates", ".io"),
    concat!("static.rust", "-lang.org"),
    concat!("npm", "js.org"),
    concat!("deb.deb", "ian.org"),
    concat!("download.py", "torch.org"),
];

/// No committed text names a machine's folder or a registry's host.
pub fn are_not_named(repository: &Repository) -> Vec<Finding> {
    let held = repository.files.iter().filter(|file| !file.path.ends_with("Cargo.lock"));
    let found = held.flat_map(|file| {
        file.text.lines().enumerate().filter_map(|(index, line)| {
            let folder = FOLDERS.iter().find(|folder| names_folder(line, folder));
            let host = HOSTS.iter().find(|host| line.contains(*host));
            Some(file.finding(index + 1, format!("`{}` is of one machine or registry", folder.or(host)?)))
        })
    });
    found.collect()
}

/// Whether a path on the line starts with `folder`; `a/tmp/b` does not.
fn names_folder(line: &str, folder: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || "_-.~$})/".contains(char);
    line.match_indices(folder).any(|(at, _)| !line[..at].chars().next_back().is_some_and(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        are_not_named(&Repository::of(&[("a.md", text)])).len()
    }

    #[test]
    fn folders_and_hosts_are_found() {
        for folder in FOLDERS {
            assert_eq!(count(&format!("see {folder}x")), 1, "{folder}");
            assert_eq!(count(&format!("see \"{folder}x\"")), 1, "{folder}");
        }
        for host in HOSTS {
            assert_eq!(count(&format!("from https://{host}/x")), 1, "{host}");
        }
    }

    #[test]
    fn other_paths_are_fine() {
        for folder in FOLDERS {
            assert_eq!(count(&format!("target{folder}x")), 0, "{folder}");
        }
        assert_eq!(count("/usr/lib/anneal"), 0);
    }
}
