/* Reads settings from JSON by the table that the build made of a schema. Nothing here calls itself: a component's stack is
 * small, and settings may come nested in any depth. */
#include "serving.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NESTED 32 /* lists and tables in each other that settings may have */
#define SHOWN 80  /* characters of a value that a message shows */

typedef struct {
  const char *at, *end;
} span;

static size_t length(span text) { return (size_t)(text.end - text.at); }

static bool is(span text, const char *word) {
  return length(text) == strlen(word) && memcmp(text.at, word, length(text)) == 0;
}

static const char *space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

/* The end of a JSON text, with its quotes. */
static const char *quoted(const char *at, const char *end) {
  at++;
  while (at < end && *at != '"') at += *at == '\\' && at + 1 < end ? 2 : 1;
  return at < end ? at + 1 : NULL;
}

/* The end of the value that starts at `at`; NULL where there is none. */
static const char *value(const char *at, const char *end) {
  size_t open = 0;
  do {
    if (at >= end) return NULL;
    if (*at == '"') {
      at = quoted(at, end);
      if (!at) return NULL;
    } else if (*at == '{' || *at == '[') {
      open++, at++;
    } else if (*at == '}' || *at == ']') {
      if (open-- == 0) return NULL;
      at++;
    } else if (*at == ',' || *at == ':' || *at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') {
      if (open == 0) return NULL;
      at++;
    } else {
      while (at < end && !strchr(",:]} \t\n\r", *at)) at++;
    }
  } while (open > 0);
  return at;
}

static bool nested_deeper(span json, size_t levels) {
  size_t open = 0;
  for (const char *at = json.at; at && at < json.end;) {
    if (*at == '"') {
      at = quoted(at, json.end);
      continue;
    }
    if (*at == '{' || *at == '[') open++;
    if ((*at == '}' || *at == ']') && open > 0) open--;
    if (open > levels) return true;
    at++;
  }
  return false;
}

component_string_t anneal_text(const char *literal) {
  return (component_string_t){(uint8_t *)literal, strlen(literal)};
}

component_string_t anneal_joined(const component_string_t *parts, size_t num_parts) {
  component_string_t joined = {NULL, 0};
  for (size_t i = 0; i < num_parts; i++) joined.len += parts[i].len;
  if (joined.len == 0) return joined;
  joined.ptr = malloc(joined.len);
  if (!joined.ptr) abort();
  for (size_t i = 0, at = 0; i < num_parts; at += parts[i].len, i++) memcpy(joined.ptr + at, parts[i].ptr, parts[i].len);
  return joined;
}

static component_string_t shown(span text) {
  size_t len = length(text) < SHOWN ? length(text) : SHOWN;
  while (len > 0 && len < length(text) && ((uint8_t)text.at[len] & 0xc0) == 0x80) len--; /* between characters */
  return (component_string_t){(uint8_t *)text.at, len};
}

static bool about(anneal_fault *fault, component_string_t name, const component_string_t *parts, size_t num_parts) {
  const component_string_t path[2] = {anneal_text("/"), name};
  fault->path = anneal_joined(path, 2);
  fault->message = anneal_joined(parts, num_parts);
  return false;
}

static bool whole(const char *message, anneal_fault *fault) {
  fault->path = anneal_joined(NULL, 0);
  const component_string_t part = anneal_text(message);
  fault->message = anneal_joined(&part, 1);
  return false;
}

/* A number, if the text is one. */
static bool number(span text, double *out) {
  char copy[64], *stop;
  if (length(text) == 0 || length(text) >= sizeof copy || !strchr("-0123456789", *text.at)) return false;
  memcpy(copy, text.at, length(text));
  copy[length(text)] = 0;
  *out = strtod(copy, &stop);
  return *stop == 0;
}

/* The value of a setting as a number: of a choice its index. */
static bool meaning(const anneal_setting *setting, span text, double *out) {
  switch (setting->type) {
  case ANNEAL_BOOLEAN:
    *out = is(text, "true");
    return *out || is(text, "false");
  case ANNEAL_CHOICE:
    for (size_t i = 0; i < setting->num_choices; i++) {
      const span inside = {text.at + 1, text.end - 1};
      *out = (double)i;
      if (*text.at == '"' && is(inside, setting->choices[i])) return true;
    }
    return false;
  case ANNEAL_INTEGER:
    if (!number(text, out) || *out != floor(*out) || fabs(*out) > 9007199254740992.0) return false;
    break;
  case ANNEAL_NUMBER:
    if (!number(text, out)) return false;
  }
  return (setting->min_is_out ? *out > setting->min : *out >= setting->min) &&
         (setting->max_is_out ? *out < setting->max : *out <= setting->max);
}

static void store(const anneal_setting *setting, double value, void *settings) {
  void *place = (char *)settings + setting->offset;
  switch (setting->type) {
  case ANNEAL_NUMBER: *(double *)place = value; break;
  case ANNEAL_INTEGER: *(int64_t *)place = (int64_t)value; break;
  case ANNEAL_BOOLEAN: *(bool *)place = value != 0; break;
  case ANNEAL_CHOICE: *(int *)place = (int)value; break;
  }
}

/* One member of the object: finds its setting, checks and stores it. */
static bool member(const anneal_entry *entry, span name, span text, void *settings, bool *given, anneal_fault *fault) {
  for (size_t i = 0; i < entry->num_settings; i++) {
    const anneal_setting *setting = &entry->settings[i];
    double value;
    if (!is(name, setting->name)) continue;
    if (!meaning(setting, text, &value)) {
      const component_string_t parts[] = {anneal_text("is "), shown(text), anneal_text(", where "),
                                          anneal_text(setting->wanted), anneal_text(" is wanted")};
      return about(fault, anneal_text(setting->name), parts, 5);
    }
    store(setting, value, settings);
    given[i] = true;
    return true;
  }
  const component_string_t part = anneal_text("is no setting");
  return about(fault, shown(name), &part, 1);
}

static bool members(const anneal_entry *entry, span json, void *settings, bool *given, anneal_fault *fault) {
  const char *at = space(json.at, json.end);
  if (at >= json.end || *at != '{' || value(at, json.end) == NULL) return whole("the settings are no JSON object", fault);
  at = space(at + 1, json.end);
  while (at < json.end && *at == '"') {
    const char *colon = quoted(at, json.end);
    const span name = {at + 1, colon ? colon - 1 : at + 1};
    colon = colon ? space(colon, json.end) : json.end;
    const char *start = space(colon + 1, json.end), *stop = value(start, json.end);
    if (colon >= json.end || *colon != ':' || !stop) return whole("the settings are no JSON object", fault);
    const span text = {start, stop};
    if (!member(entry, name, text, settings, given, fault)) return false;
    at = space(stop, json.end);
    if (at < json.end && *at == ',') at = space(at + 1, json.end);
  }
  return true;
}

bool anneal_read(const anneal_entry *entry, component_string_t json, void *settings, anneal_fault *fault) {
  const span text = {(const char *)json.ptr, (const char *)json.ptr + json.len};
  if (nested_deeper(text, NESTED)) return whole("the settings are nested more than 32 levels deep", fault);
  bool *given = calloc(entry->num_settings ? entry->num_settings : 1, sizeof *given);
  if (!given) abort();
  bool good = members(entry, text, settings, given, fault);
  for (size_t i = 0; good && i < entry->num_settings; i++) {
    const anneal_setting *setting = &entry->settings[i];
    if (!given[i] && setting->is_required) {
      const component_string_t part = anneal_text("is missing");
      good = about(fault, anneal_text(setting->name), &part, 1);
    } else if (!given[i]) {
      store(setting, setting->fallback, settings);
    }
  }
  free(given);
  return good;
}
