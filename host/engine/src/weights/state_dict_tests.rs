//! Pickles by hand: what the machine does with opcodes that a model's file does not have.

use super::*;

/// A pickle of the dict `{"a": ...}`.
fn dict_of(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\0\0\0a".as_slice(), value, b"s."].concat()
}

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err()
}

#[test]
fn a_call_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("called");
    let command = format!("touch {}", marker.display());
    let length = (command.len() as u32).to_le_bytes();
    let call = [b"cposix\nsystem\nX".as_slice(), &length, command.as_bytes(), b"\x85R"].concat();
    let pickled = read(&dict_of(&call)).unwrap();
    assert!(pickled.tensors.is_empty() && pickled.facts.is_empty() && !marker.exists());
}

#[test]
fn texts_and_numbers_at_the_top_are_facts() {
    let fact = |value: &[u8]| read(&dict_of(value)).unwrap().facts.remove("a");
    assert_eq!(fact(b"K\x07").unwrap(), "7");
    assert_eq!(fact(b"J\xff\xff\xff\xff").unwrap(), "-1");
    assert_eq!(fact(b"\x8a\x02\x00\x80").unwrap(), "-32768");
    assert_eq!(fact(b"G\x3f\xf8\0\0\0\0\0\0").unwrap(), "1.5");
    assert_eq!(fact(b"\x8c\x02hi").unwrap(), "hi");
    assert_eq!(fact(b"\x88").unwrap(), "true");
    assert_eq!(fact(b"N"), None);
}

#[test]
fn a_dict_of_pairs_is_a_dict() {
    let fact = |call: &[u8]| read(&[b"\x80\x02ccollections\nOrderedDict\n", call].concat()).map(|read| read.facts);
    let facts = fact(b"](](X\x01\0\0\0aK\x05e](X\x01\0\0\0bK\x06ee\x85R.").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        facts.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), "5".to_owned()), ("b".to_owned(), "6".to_owned())]
    );
    assert!(fact(b"](K\x05e\x85R.").unwrap_err().contains("something else than pairs"));
}

#[test]
fn broken_pickles_say_where() {
    for (bytes, want) in [
        (&b""[..], "byte 0: 1 bytes more are wanted"),
        (b"\x80\x02}", "byte 3: 1 bytes more"),
        (b"\x80\x02.", "the stack is empty"),
        (b"\x80\x02K\x01.", "it holds a number where a dict of tensors is wanted"),
        (b"\x80\x02h\x05.", "the memo has no 5"),
        (b"\x80\x02i", "the opcode 0x69"),
        (b"X\xff\xff\xff\xffabc", "4294967295 bytes more are wanted"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc", "bytes more are wanted"),
        (b"}(u.", "it holds"),
        (b"}(K\x01u.", "a key has no value"),
        (b"}(s.", "a mark stands"),
        (b"K\x01K\x02a.", "a number cannot be filled"),
        (b"K\x01Q.", "a reference is no tuple"),
        (b"u.", "there is no mark"),
    ] {
        match read(bytes) {
            // An empty dict.
            Ok(pickled) => assert!(bytes == b"}(u." && pickled.tensors.is_empty()),
            Err(error) => assert!(error.contains(want), "{bytes:?}: {error}"),
        }
    }
}

#[test]
fn dicts_that_hold_each_other_do_not_go_on_for_ever() {
    // A dict within itself.
    assert!(error(b"}q\0X\x01\0\0\0ah\0s.").contains("nested more than 32 deep"));
    // Each dict holds the next one sixteen times: 16^8 visits.
    let mut shared = b"}q\0".to_vec();
    for level in 1..=8_u8 {
        shared.push(b'}');
        for key in b'a'..=b'p' {
            shared.extend([b'X', 1, 0, 0, 0, key, b'h', level - 1, b's']);
        }
        shared.extend([b'q', level]);
    }
    shared.push(b'.');
    assert!(error(&shared).contains("more objects than any model"));
}

/// A reference to the storage "0" and what follows of a tensor of 64 axes, as arguments of a call.
fn axes() -> Vec<u8> {
    let storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x00\x30NK\x00tQK\x00(";
    [storage.as_slice(), &b"K\x01".repeat(64), b"tq\x02h\x02t"].concat()
}

#[test]
fn what_is_named_again_and_again_is_not_copied_without_end() {
    let call = [b"ctorch._utils\n_rebuild_tensor_v2\nq\x00", &axes()[..], b"q\x01R0"].concat();
    let many = [b"\x80\x02", &call[..], &b"h\x00h\x01R0".repeat(70_000), b"}."].concat();
    assert!(error(&many).contains("copied without end"));
    let name = [b"ctorch._utils\n_rebuild_", &b"x".repeat(10_000)[..], b"\nq\x00)q\x01R0"].concat();
    let many = [b"\x80\x02", &name[..], &b"h\x00h\x01R0".repeat(2000), b"}."].concat();
    assert!(error(&many).contains("copied without end"));
}

#[test]
fn keys_of_dicts_within_dicts_stay_short() {
    let key = [b"X\x00\x02\0\0".as_slice(), &b"k".repeat(512)].concat();
    let nested = [b"\x80\x02}".as_slice(), &key, b"}", &key, b"}", &key, b"}sss."].concat();
    assert!(error(&nested).contains("longer than any name"), "{}", error(&nested));
    // One tensor under very many keys, each of half a kilobyte with those around it.
    let call = [b"ctorch._utils\n_rebuild_tensor_v2\n", &axes()[..], b"Rq\x05"].concat();
    let dict = [b"(", &b"K\x07h\x05".repeat(50_000)[..], b"u"].concat();
    let many = [b"\x80\x02", &call[..], b"0}", &key[..], b"}", &dict[..], b"s."].concat();
    assert!(error(&many).contains("more keys and axes"), "{}", error(&many));
}
