//! Packages that people and programs could have made, good and hostile.

use std::os::unix::fs::symlink;

use tempfile::tempdir;

use super::*;

type Entry<'a> = (&'a str, EntryType, &'a [u8]);

/// A package of any entries, its names written as they are.
fn package(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (name, kind, bytes) in entries {
        let mut header = Header::new_ustar();
        // The crate refuses to write such names, so they are put in by hand.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4777);
        if *kind == EntryType::Symlink || *kind == EntryType::Link {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Entry<'a> {
    (name, EntryType::Regular, bytes)
}

/// What unpacking says; nothing may lie beside the folder afterwards.
fn unpacked(package: &[u8]) -> Result<(), String> {
    let root = tempdir().unwrap();
    let folder = root.path().join("plugin");
    fs::create_dir(&folder).unwrap();
    let result = unpack(package, &folder).map_err(|error| error.to_string());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    result
}

fn sums(entries: &[(&str, &[u8])]) -> String {
    entries.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect()
}

#[test]
fn a_folder_packs_to_the_same_bytes_and_comes_back() {
    let root = tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    for (folder, names) in [(&first, ["plugin.toml", "b.wasm"]), (&second, ["b.wasm", "plugin.toml"])] {
        fs::create_dir_all(folder.join("schema")).unwrap();
        for name in names {
            fs::write(folder.join(name), name).unwrap();
        }
        fs::write(folder.join("schema/a.json"), "{}").unwrap();
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::open(second.join("b.wasm")).unwrap().set_modified(old).unwrap();
    let package = pack(&first).unwrap();
    assert_eq!(package, pack(&second).unwrap());
    let back = root.path().join("back");
    fs::create_dir(&back).unwrap();
    unpack(package.as_slice(), &back).unwrap();
    assert_eq!(fs::read_to_string(back.join("schema/a.json")).unwrap(), "{}");
    assert_eq!(fs::metadata(back.join("b.wasm")).unwrap().permissions().mode() & 0o777, 0o644);
    // What was unpacked packs to the same again: its list of digests does not list itself.
    assert_eq!(pack(&back).unwrap(), package);
}

#[test]
fn links_and_paths_that_lead_out_are_refused() {
    let sums = sums(&[("a", b"x")]);
    let listed = file(SUMS, sums.as_bytes());
    assert_eq!(unpacked(&package(&[file("a", b"x"), listed])), Ok(()));
    for (entry, reason) in [
        (file("../a", b"x"), "`../a` leads out of the package"),
        (file("/a", b"x"), "`/a` leads out of the package"),
        (file("b/../../a", b"x"), "`b/../../a` leads out of the package"),
        (("a", EntryType::Symlink, b"".as_slice()), "`a` is a link or no file"),
        (("a", EntryType::Link, b"".as_slice()), "`a` is a link or no file"),
        (("a", EntryType::Directory, b"".as_slice()), "`a` is a link or no file"),
        (("a", EntryType::Char, b"".as_slice()), "`a` is a link or no file"),
        (file("a.cwasm", b"x"), "`a.cwasm` is compiled code, which only the host itself may make"),
        (file("a\nb", b"x"), "`a\nb` has a control character in its name"),
    ] {
        assert_eq!(unpacked(&package(&[entry, listed])), Err(reason.to_owned()));
    }
    assert_eq!(unpacked(&package(&[file("a", b"x"), file("a", b"x"), listed])), Err("`a` is there twice".to_owned()));
}

#[test]
fn the_list_of_digests_is_complete_and_right() {
    let one = sums(&[("a", b"x")]);
    let both = sums(&[("a", b"x"), ("b", b"y")]);
    let check = |entries: &[Entry<'_>]| unpacked(&package(entries)).unwrap_err();
    assert_eq!(check(&[file("a", b"x")]), "SHA256SUMS is missing");
    let extra = check(&[file("a", b"x"), file("b", b"y"), file(SUMS, one.as_bytes())]);
    assert_eq!(extra, "SHA256SUMS does not list `b`");
    let missing = check(&[file("a", b"x"), file(SUMS, both.as_bytes())]);
    assert_eq!(missing, "SHA256SUMS lists `b`, which is not there");
    assert!(check(&[file("a", b"z"), file(SUMS, one.as_bytes())]).starts_with("SHA256SUMS says that `a` has"));
    assert!(check(&[file("a", b"x"), file(SUMS, b"a")]).contains("no digest and name"));
}

#[test]
fn too_many_files_and_no_packages_are_refused() {
    let names: Vec<String> = (0..=FILES_MAX).map(|i| i.to_string()).collect();
    let entries: Vec<Entry<'_>> = names.iter().map(|name| file(name, b"")).collect();
    assert_eq!(unpacked(&package(&entries)), Err("holds more than 4096 files".to_owned()));
    assert!(unpacked(b"PK\x03\x04").unwrap_err().starts_with("is no package of a plugin"));
    let whole = package(&[file("a", &[7; 4000]), file(SUMS, b"")]);
    assert!(unpacked(&whole[..whole.len() / 2]).unwrap_err().starts_with("is no package of a plugin"));
}

#[test]
fn a_package_that_unpacks_to_more_than_it_says_is_cut() {
    // A header of 3 GiB over zeros that zstd makes tiny.
    let mut header = Header::new_ustar();
    header.set_path("a").unwrap();
    header.set_size(3 << 30);
    header.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(header.as_bytes()).unwrap();
    io::copy(&mut io::repeat(0).take(1 << 20), &mut encoder).unwrap();
    assert!(unpacked(&encoder.finish().unwrap()).is_err());
}

#[test]
fn links_and_compiled_code_are_not_packed() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("plugin.toml"), "").unwrap();
    symlink("plugin.toml", root.path().join("link")).unwrap();
    assert_eq!(pack(root.path()).unwrap_err().to_string(), "`link` is a link or no file");
    fs::remove_file(root.path().join("link")).unwrap();
    fs::write(root.path().join("a.cwasm"), "").unwrap();
    assert!(pack(root.path()).unwrap_err().to_string().starts_with("`a.cwasm` is compiled code"));
}
