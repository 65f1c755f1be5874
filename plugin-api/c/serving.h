/* What the files of the SDK share: reading settings, the entry that is served, and refusals. */
#ifndef ANNEAL_SERVING_H
#define ANNEAL_SERVING_H

#include "anneal.h"
#include "component.h"

/* What is wrong with settings: where, as a JSON pointer, and what. The texts are the holder's to free. */
typedef struct {
  component_string_t path, message;
} anneal_fault;

/* Fills a struct with the settings in a JSON object. False, and the first fault, when they are not what the table allows. */
bool anneal_read(const anneal_entry *entry, component_string_t json, void *settings, anneal_fault *fault);

/* A text of its own: the parts one after another. */
component_string_t anneal_joined(const component_string_t *parts, size_t num_parts);
component_string_t anneal_text(const char *literal);

/* The entry that `init` chose and its settings. False, and the error that says so, when there is none. */
bool anneal_serving(const anneal_entry **entry, const void **settings, anneal_plugin_types_plugin_error_t *error);

/* Forgets refusals of calls before. */
void anneal_begin(void);
/* Whether the plugin refused since; then the error says what. */
bool anneal_refused(uint8_t code, anneal_plugin_types_plugin_error_t *error);
/* An error of the SDK's own. Always false, as what a failed call returns. */
bool anneal_fail(uint8_t code, const char *message, anneal_plugin_types_plugin_error_t *error);

/* Room for the numbers of an answer. False, and the error, when there is none. */
bool anneal_room(uint64_t len, component_list_f64_t *list, anneal_plugin_types_plugin_error_t *error);

#endif /* ANNEAL_SERVING_H */
