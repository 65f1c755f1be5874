/* Reads the settings that the host hands to a plugin in C: the members of a JSON object. The host has checked them
 * against the entry's schema, so what is missing or of another type is the fallback's case and no error.
 * Valid C11 and C++17.
 */
#ifndef ANNEAL_JSON_H
#define ANNEAL_JSON_H

#include "anneal_plugin.h"

#include <stdlib.h>
#include <string.h>

/* The end of the JSON value that starts at `at`, or NULL when there is none. */
static inline const char *anneal_json_skip(const char *at, const char *end) {
  int depth = 0;
  while (at < end) {
    const char c = *at++;
    if (c == '"') {
      while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
      if (at >= end) return NULL;
      at++;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      depth--;
    }
    if (depth < 0) return NULL;
    if (depth == 0 && at < end && (*at == ',' || *at == '}' || *at == ']' || *at == ':')) return at;
  }
  return NULL;
}

/* The text of a member's value, empty when the object has no such member. Names with escapes are not found. */
static inline anneal_str anneal_json_member(anneal_str object, const char *name) {
  const anneal_str none = {NULL, 0};
  const char *at = object.ptr, *end = object.ptr + object.len;
  const size_t len = strlen(name);
  if (object.len < 2 || *at++ != '{') return none;
  while (at && at < end && *at == '"') {
    const char *colon = anneal_json_skip(at, end);
    const char *stop = colon && colon < end && *colon == ':' ? anneal_json_skip(colon + 1, end) : NULL;
    if (!stop) return none;
    if ((size_t)(colon - at) == len + 2 && memcmp(at + 1, name, len) == 0) {
      const anneal_str value = {colon + 1, (size_t)(stop - colon - 1)};
      return value;
    }
    at = stop < end && *stop == ',' ? stop + 1 : NULL;
  }
  return none;
}

/* A number, or the fallback. */
static inline double anneal_json_double(anneal_str object, const char *name, double fallback) {
  const anneal_str text = anneal_json_member(object, name);
  char copy[64];
  char *stop = copy;
  double number;
  if (text.len == 0 || text.len >= sizeof copy) return fallback;
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  number = strtod(copy, &stop);
  return stop == copy + text.len ? number : fallback;
}

/* A whole number, or the fallback. */
static inline int64_t anneal_json_int(anneal_str object, const char *name, int64_t fallback) {
  const anneal_str text = anneal_json_member(object, name);
  char copy[64];
  char *stop = copy;
  long long number;
  if (text.len == 0 || text.len >= sizeof copy) return fallback;
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  number = strtoll(copy, &stop, 10);
  return stop == copy + text.len ? (int64_t)number : fallback;
}

/* 0 or 1, or the fallback. */
static inline int anneal_json_bool(anneal_str object, const char *name, int fallback) {
  const anneal_str text = anneal_json_member(object, name);
  if (text.len == 4 && memcmp(text.ptr, "true", 4) == 0) return 1;
  if (text.len == 5 && memcmp(text.ptr, "false", 5) == 0) return 0;
  return fallback;
}

#endif /* ANNEAL_JSON_H */
