/* What a WASM plugin in C sees of the SDK: how it refuses, and how its settings are described.
 *
 * `anneal plugin build` makes `plugin.h` of plugin.toml and the schemas: a struct of settings for each entry, and the
 * functions that the plugin has to define. Only memory and mathematics of the C library may be used: whatever reads files,
 * clocks or the environment, printf among it, needs what no plugin gets.
 */
#ifndef ANNEAL_H
#define ANNEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Refuses what was asked: the call fails with this message, whatever is returned. `path` is a JSON pointer to the setting
 * that it is about ("/rho"), or NULL. Both texts must stay where they are. The first refusal of a call counts. */
void anneal_refuse(const char *path, const char *message);

/* What the host draws for each sigma of a sigma sampling. */
typedef enum { ANNEAL_UNIFORM, ANNEAL_GAUSSIAN } anneal_draw;

/* The rest is written by the build. */

typedef enum { ANNEAL_NUMBER, ANNEAL_INTEGER, ANNEAL_BOOLEAN, ANNEAL_CHOICE } anneal_type;

/* A setting: where it is in its struct, what it may be, and what it is when it is not given. */
typedef struct {
  const char *name;
  const char *wanted; /* what it may be, in words */
  anneal_type type;
  size_t offset;
  bool is_required;
  double fallback; /* of a choice its index, of a boolean 0 or 1 */
  double min, max;
  bool min_is_out, max_is_out; /* whether the bound itself is not allowed */
  const char *const *choices;
  size_t num_choices;
} anneal_setting;

/* An entry: its settings and the plugin's functions for it, which have the types of its kind. */
typedef struct {
  const char *name;
  const anneal_setting *settings;
  size_t num_settings, size;
  void (*check)(const void *settings);
  void (*function)(void);
  void (*draw)(void);
} anneal_entry;

extern const anneal_entry anneal_entries[];
extern const size_t anneal_num_entries;
extern const char anneal_descriptor[];

#endif /* ANNEAL_H */
