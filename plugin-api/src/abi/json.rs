//! Tests of `include/anneal_json.h`: what a plugin in C reads of its settings.

use std::process::Command;

const PROGRAM: &str = r#"
#include "anneal_json.h"
#include <assert.h>
int main(void) {
  const char *text = "{\"name\":\"a \\\"dim\\\":7, {[\",\"nested\":{\"dim\":5,\"list\":[1,{\"dim\":6}]},"
                     "\"dim\":64,\"rate\":-2.5e-3,\"on\":true,\"off\":false,\"none\":null}";
  const anneal_str object = {text, strlen(text)}, empty = {"{}", 2}, nothing = {NULL, 0};
  size_t len;
  assert(anneal_json_int(object, "dim", 1) == 64);
  assert(anneal_json_int(object, "list", 3) == 3 && anneal_json_int(object, "rate", 4) == 4);
  assert(anneal_json_int(object, "none", 8) == 8 && anneal_json_int(object, "name", 9) == 9);
  assert(anneal_json_double(object, "rate", 0) == -2.5e-3 && anneal_json_double(object, "dim", 0) == 64.0);
  assert(anneal_json_bool(object, "on", 0) == 1 && anneal_json_bool(object, "off", 1) == 0);
  assert(anneal_json_bool(object, "dim", 7) == 7 && anneal_json_bool(object, "o", 7) == 7);
  assert(anneal_json_member(object, "nested").len == strlen("{\"dim\":5,\"list\":[1,{\"dim\":6}]}"));
  assert(anneal_json_member(empty, "dim").len == 0 && anneal_json_member(nothing, "dim").len == 0);
  /* What is cut anywhere is not found, and nothing is read behind its end. */
  for (len = 0; len < object.len; len++) {
    char *copy = (char *)malloc(len + 1);
    const anneal_str cut = {copy, len};
    memcpy(copy, text, len);
    assert(anneal_json_member(cut, "none").len == 0);
    free(copy);
  }
  return 0;
}
"#;

#[test]
fn settings_are_read_at_their_own_depth_and_no_further() {
    let folder = std::env::temp_dir().join(format!("anneal-json-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("json.c"), PROGRAM).unwrap();
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg(folder.join("json.c"))
        .arg("-o")
        .arg(folder.join("json"))
        .output()
        .expect("a C compiler is needed to build anneal");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(folder.join("json")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    std::fs::remove_dir_all(&folder).unwrap();
}
