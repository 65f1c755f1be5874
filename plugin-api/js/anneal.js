// What `anneal plugin build` puts around a plugin in JavaScript: settings checked by their schema, and from classes to
// the functions of the component.
//
// A class is built from settings whose defaults are filled in. A RangeError that it throws is a refusal: with `path`, a
// JSON pointer, it is about a setting. Any other error is a fault of the plugin.

/** Lists and tables in each other that settings may have: a component's stack is small. */
const NESTED = 32;
/** Numbers of a call. More would not be done before the host's limit of fuel stops the component. */
const NUMBERS = 32_768;

/** An error as the host reads it. */
const failure = (code, message, path) => ({ code, message, path });

/** What an error of the plugin's is to the host: a refusal, or a fault with the place where it happened. */
function told(error, code) {
  if (error instanceof RangeError) return failure(code, error.message, error.path);
  return failure("internal", error instanceof Error ? `${error}\n${error.stack ?? ""}`.trim() : String(error));
}

function nestedDeeper(json, levels) {
  let open = 0;
  for (const [bracket] of json.replace(/"(?:[^"\\]|\\.)*"/g, "").matchAll(/[[\]{}]/g)) {
    open += bracket === "[" || bracket === "{" ? 1 : -1;
    if (open > levels) return true;
  }
  return false;
}

function typeOf(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function isOf(type, value) {
  return type === "integer" ? Number.isSafeInteger(value) : type === typeOf(value);
}

/** The step to a member in a JSON pointer. */
const step = (name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** Checks `value` against a schema, fills in defaults, and adds what is wrong to `faults`. */
function settle(value, schema, path, faults) {
  const fault = (message) => void faults.push({ path, message });
  const shown = JSON.stringify(value)?.slice(0, 80);
  const types = [schema.type ?? []].flat();
  if (types.length > 0 && !types.some((type) => isOf(type, value))) {
    return fault(`is ${shown}, where ${types.join(" or ")} is wanted`);
  }
  if (schema.enum && !schema.enum.includes(value)) {
    return fault(`is ${shown}, where one of ${JSON.stringify(schema.enum)} is wanted`);
  }
  if (typeof value === "number") {
    if (value < schema.minimum) fault(`is ${shown}, less than ${schema.minimum}`);
    if (value > schema.maximum) fault(`is ${shown}, more than ${schema.maximum}`);
    if (value <= schema.exclusiveMinimum) fault(`is ${shown}, not more than ${schema.exclusiveMinimum}`);
    if (value >= schema.exclusiveMaximum) fault(`is ${shown}, not less than ${schema.exclusiveMaximum}`);
  } else if (Array.isArray(value)) {
    if (value.length < schema.minItems) fault(`has ${value.length} items, less than ${schema.minItems}`);
    if (value.length > schema.maxItems) fault(`has ${value.length} items, more than ${schema.maxItems}`);
    if (schema.items) value.forEach((item, at) => settle(item, schema.items, `${path}/${at}`, faults));
  } else if (typeOf(value) === "object") {
    const properties = schema.properties ?? {};
    for (const name of Object.keys(value)) {
      if (Object.hasOwn(properties, name)) settle(value[name], properties[name], path + step(name), faults);
      else if (schema.additionalProperties === false) faults.push({ path: path + step(name), message: "is no setting" });
    }
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(value, name)) faults.push({ path: path + step(name), message: "is missing" });
    }
    for (const [name, property] of Object.entries(properties)) {
      if (!Object.hasOwn(value, name) && "default" in property) value[name] = structuredCopy(property.default);
    }
  }
}

const structuredCopy = (value) => JSON.parse(JSON.stringify(value));

/** The settings in a JSON text, and what is wrong with them. */
function read(schema, json) {
  if (nestedDeeper(json, NESTED)) {
    return [{}, [{ path: "", message: `the settings are nested more than ${NESTED} levels deep` }]];
  }
  const settings = JSON.parse(json);
  const faults = [];
  settle(settings, schema, "", faults);
  return [settings, faults];
}

/** The numbers of a list, of any kind of list. */
function numbers(values, function_) {
  const list = Float64Array.from(values);
  if (list.length !== values.length) throw new TypeError(`${function_} returned no list`);
  return list;
}

/**
 * The exports of a component: `descriptor` is what plugin.toml and the schemas say, `entries` are the classes by name.
 */
export function serve(descriptor, entries) {
  let serving = null;
  const described = (name) => JSON.parse(descriptor).entries.find((entry) => entry.name === name);
  const build = (name, settings) => {
    if (!Object.hasOwn(entries, name)) throw new Error(`plugin.js has no entry \`${name}\``);
    return new entries[name](settings);
  };
  /** Has the entry that is served make so many numbers. */
  const call = (count, run) => {
    if (serving === null) throw failure("internal", "called before init");
    if (count > NUMBERS) {
      throw failure("budget-exhausted", `${count} numbers, where a call of a plugin in JavaScript gives ${NUMBERS}`);
    }
    try {
      return run(serving);
    } catch (error) {
      throw told(error, "invalid-argument");
    }
  };
  const each = (values, method) => call(values.length, (entry) => Float64Array.from(values, (value) => entry[method](value)));
  return {
    lifecycle: {
      describe: () => descriptor,
      checkConfig(name, json) {
        const severity = "error";
        const entry = described(name);
        if (!entry) return [{ severity, path: "", message: `there is no entry \`${name}\`` }];
        const [settings, faults] = read(entry.schema, json);
        if (faults.length === 0) {
          try {
            build(name, settings);
          } catch (error) {
            const { message, path } = told(error, "invalid-config");
            faults.push({ path: path ?? "", message });
          }
        }
        return faults.map((fault) => ({ severity, ...fault }));
      },
      init(name, json) {
        const entry = described(name);
        if (!entry) throw failure("invalid-config", `there is no entry \`${name}\``);
        const [settings, faults] = read(entry.schema, json);
        if (faults.length > 0) throw failure("invalid-config", faults[0].message, faults[0].path);
        try {
          serving = build(name, settings);
        } catch (error) {
          throw told(error, "invalid-config");
        }
      },
    },
    discretization: { sigmas: (n) => call(n, (entry) => numbers(entry.sigmas(n), "sigmas")) },
    sigmaSampling: {
      draw: () => serving?.draw ?? "uniform",
      sample: (draws) => each(draws, "sigma"),
    },
    guidance: {
      scales: (sigmas, numFrames, numViews) =>
        call(sigmas.length * numFrames, (entry) => numbers(entry.scales(sigmas, numFrames, numViews), "scales")),
    },
    learningRate: {
      factors: (first, count) =>
        call(count, (entry) => {
          // A step is a bigint where it is handed over, and a number here: exact below 2^53.
          if (BigInt(first) + BigInt(count) > 2n ** 53n) throw new RangeError("steps end past 2^53");
          const start = Number(first);
          return Float64Array.from({ length: count }, (_, at) => entry.factor(start + at));
        }),
    },
    weighting: {
      weights: (sigmas) =>
        call(sigmas.length, (entry) =>
          Float64Array.from(sigmas, (sigma) => {
            if (Number.isNaN(sigma)) throw new RangeError("a sigma is no number");
            return entry.weight(sigma);
          }),
        ),
    },
  };
}
