//! Manifests, good and bad.

use super::*;

const GOOD: &str = r#"schema-version = 1
id = "acme.karras"
version = "1.2.0"
[api]
wit = "1.0"
[artifact.wasm]
path = "karras.wasm"
[[entry]]
name = "karras"
kind = "discretization"
schema = "schema/karras.json"
[x-shop]
anything = true
"#;

fn parse(text: &str) -> Result<Manifest, Vec<String>> {
    Manifest::parse(text, Path::new("p/plugin.toml"))
        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

/// The first fault of the good manifest with one text replaced by another.
fn fault(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    parse(&GOOD.replace(from, to)).unwrap_err().remove(0)
}

#[test]
fn a_manifest_is_read() {
    let manifest = parse(GOOD).unwrap();
    assert_eq!((manifest.id.as_str(), manifest.version.to_string().as_str()), ("acme.karras", "1.2.0"));
    assert_eq!(manifest.artifacts[&Runtime::Wasm].path, Path::new("karras.wasm"));
    assert_eq!(manifest.entries[0].kind, PluginKind::Discretization);
    assert_eq!(manifest.torch, TorchLink::None);
}

#[test]
fn each_fault_has_its_place_and_remedy() {
    let cases = [
        (
            "version = \"1.2.0\"",
            "verison = \"1.2.0\"",
            "p/plugin.toml:3:1: verison: is no key of a manifest\nhelp: did you mean `version`?",
        ),
        ("name = \"karras\"", "nmae = \"karras\"", "p/plugin.toml:9:1: entry.nmae: is no key"),
        ("schema-version = 1", "schema-version = 2", "p/plugin.toml:1:18: schema-version: is 2, this anneal reads 1"),
        ("acme.karras", "Karras", "p/plugin.toml:2:6: id: `Karras` is no plugin id"),
        ("\"1.2.0\"", "\"1.2\"", "p/plugin.toml:3:11: version: `1.2` is no version"),
        (
            "wit = \"1.0\"",
            "wit = \"1.9\"",
            "p/plugin.toml:5:7: api.wit: is 1.9, this anneal has 1.0\nhelp: update anneal",
        ),
        (
            "wit = \"1.0\"",
            "abi = \"0.9\"",
            "p/plugin.toml:5:7: api.abi: is 0.9, this anneal has 1.1\nhelp: build the plugin",
        ),
        ("wit = \"1.0\"", "anneal = \">=99\"", "p/plugin.toml:5:10: api.anneal: is >=99, this is anneal"),
        ("karras.wasm", "../karras.wasm", "`../karras.wasm` leads out of the plugin's folder"),
        ("schema/karras.json", "/etc/passwd", "leads out of the plugin's folder"),
        ("\"discretization\"", "\"discretisation\"", "p/plugin.toml:10:8: unknown variant `discretisation`"),
        ("\"discretization\"", "\"embedder\"", "which `karras` (embedder) runs from"),
        ("name = \"karras\"", "name = \"Karras\"", "`Karras` is no name of an entry"),
        ("[x-shop]", "[torch]\nlink = \"stable\"\n[x-shop]", "`stable` is no way to link"),
        (
            "[x-shop]",
            "[capabilities]\nwasi = \"full\"\n[x-shop]",
            "capabilities.wasi: is `full`, which plugins do not get",
        ),
        (
            "[x-shop]",
            "[capabilities]\nmemory-mib = 4096\n[x-shop]",
            "capabilities.memory-mib: is 4096\nhelp: write 1 to 512",
        ),
        ("id = \"acme.karras\"", "id = ", "p/plugin.toml:2:"),
    ];
    for (from, to, expected) in cases {
        let fault = fault(from, to);
        assert!(fault.contains(expected), "{to}: {fault}");
    }
}

#[test]
fn several_faults_are_told_at_once() {
    let text = GOOD.replace("acme.karras", "x").replace("1.2.0", "one").replace("wit =", "wti =");
    assert_eq!(parse(&text).unwrap_err().len(), 3);
    let doubled = format!("{GOOD}[[entry]]\nname = \"karras\"\nkind = \"discretization\"\nschema = \"a.json\"\n");
    assert!(parse(&doubled).unwrap_err()[0].contains("two of the kind discretization"));
}

#[test]
fn a_manifest_without_end_is_refused_and_its_faults_are_told_to_a_bound() {
    let entry = "[[entry]]\nname = \"a\"\nkind = \"discretization\"\nschema = \"a.json\"\n";
    let many = parse(&format!("{GOOD}{}", entry.repeat(20_000))).unwrap_err();
    assert_eq!(many.len(), 1, "{many:?}");
    assert!(many[0].contains("entry: there are 20001, at most 256 are read"), "{many:?}");
    let keys: String = (0..20_000).map(|i| format!("key-{i} = 1\n")).collect();
    let many = parse(&format!("{keys}{GOOD}")).unwrap_err();
    assert_eq!(many.len(), 200);
    assert!(many.iter().any(|fault| fault.contains("more faults follow")));
}
