"""What `anneal plugin build` puts around a plugin in Python: settings checked by their schema, and from classes to the
functions of the component.

A class is built from a dict of settings whose defaults are filled in. A ValueError that it raises is a refusal: with an
attribute `path`, a JSON pointer, it is about a setting. An ArithmeticError is one, too: Python raises it where other
languages go on with an infinity. Any other exception is a fault of the plugin.
"""

import copy
import json
import math
import re
import traceback

from componentize_py_types import Err
from wit_world.imports.types import Diagnostic, ErrorCode, PluginError, Severity

# Lists and tables in each other that settings may have: a component's stack is small.
NESTED = 32
# Numbers of a call. More would not be done before the host's limit of fuel stops the component.
NUMBERS = 32768

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


class State:
    """What `init` leaves for the calls after it; and, from the build, the descriptor and the classes by name."""

    descriptor = '{"entries": []}'
    entries = {}
    serving = None


def failure(code, message, path=None):
    return Err(PluginError(code, message, path))


def told(error, code):
    """What an exception of the plugin's is to the host: a refusal, a failure of the host's own handed back, or a fault with
    the place where it happened."""
    if isinstance(error, Err):
        return error.value
    if isinstance(error, ValueError):
        return PluginError(code, str(error), getattr(error, "path", None))
    if isinstance(error, ArithmeticError):
        return PluginError(ErrorCode.NUMERIC, f"{type(error).__name__}: {error}", None)
    return PluginError(ErrorCode.INTERNAL, "".join(traceback.format_exception(error)).strip(), None)


def nested_deeper(text, levels):
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > levels:
            return True
    return False


def is_of(kind, value):
    if kind not in ("number", "integer"):
        return isinstance(value, TYPES[kind])
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (kind == "number" or (math.isfinite(value) and value == int(value)))


def same(one, other):
    """Equality that tells 1 from True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def settle(value, schema, path, faults):
    """Checks `value` against a schema, fills in defaults, and adds what is wrong to `faults`."""
    shown = json.dumps(value)[:80]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_of(kind, value) for kind in kinds):
        faults.append((path, f"is {shown}, where {' or '.join(kinds)} is wanted"))
        return
    if "enum" in schema and not any(same(value, allowed) for allowed in schema["enum"]):
        faults.append((path, f"is {shown}, where one of {json.dumps(schema['enum'])} is wanted"))
        return
    if is_of("number", value):
        if "minimum" in schema and value < schema["minimum"]:
            faults.append((path, f"is {shown}, less than {schema['minimum']}"))
        if "maximum" in schema and value > schema["maximum"]:
            faults.append((path, f"is {shown}, more than {schema['maximum']}"))
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            faults.append((path, f"is {shown}, not more than {schema['exclusiveMinimum']}"))
        if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
            faults.append((path, f"is {shown}, not less than {schema['exclusiveMaximum']}"))
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            faults.append((path, f"has {len(value)} items, less than {schema['minItems']}"))
        if len(value) > schema.get("maxItems", len(value)):
            faults.append((path, f"has {len(value)} items, more than {schema['maxItems']}"))
        for at, item in enumerate(value):
            settle(item, schema.get("items", {}), f"{path}/{at}", faults)
    elif isinstance(value, dict):
        settle_table(value, schema, path, faults)


def settle_table(table, schema, path, faults):
    def place(name):
        return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"

    properties = schema.get("properties", {})
    for name, value in table.items():
        if name in properties:
            settle(value, properties[name], place(name), faults)
        elif schema.get("additionalProperties") is False:
            faults.append((place(name), "is no setting"))
    faults.extend((place(name), "is missing") for name in schema.get("required", []) if name not in table)
    for name, setting in properties.items():
        if name not in table and "default" in setting:
            table[name] = copy.deepcopy(setting["default"])


def read(schema, text):
    """The settings in a JSON text, and what is wrong with them as (path, message)."""
    if nested_deeper(text, NESTED):
        return {}, [("", f"the settings are nested more than {NESTED} levels deep")]
    settings, faults = json.loads(text), []
    settle(settings, schema, "", faults)
    return settings, faults


def schema_of(name):
    for entry in json.loads(State.descriptor)["entries"]:
        if entry["name"] == name:
            return entry["schema"]
    return None


def few(count):
    if count > NUMBERS:
        raise failure(ErrorCode.BUDGET_EXHAUSTED, f"{count} numbers, where a call of a plugin in Python gives {NUMBERS}")


def call(run):
    """Calls the entry that is served."""
    if State.serving is None:
        raise failure(ErrorCode.INTERNAL, "called before init")
    try:
        return run(State.serving)
    except Exception as error:
        raise Err(told(error, ErrorCode.INVALID_ARGUMENT)) from error


class Lifecycle:
    def describe(self):
        return State.descriptor

    def check_config(self, entry, config):
        schema = schema_of(entry)
        if schema is None:
            return [Diagnostic(Severity.ERROR, "", f"there is no entry `{entry}`")]
        settings, faults = read(schema, config)
        if not faults:
            try:
                State.entries[entry](settings)
            except Exception as error:
                refusal = told(error, ErrorCode.INVALID_CONFIG)
                faults.append((refusal.path or "", refusal.message))
        return [Diagnostic(Severity.ERROR, path, message) for path, message in faults]

    def init(self, entry, config):
        schema = schema_of(entry)
        if schema is None:
            raise failure(ErrorCode.INVALID_CONFIG, f"there is no entry `{entry}`")
        settings, faults = read(schema, config)
        if faults:
            raise failure(ErrorCode.INVALID_CONFIG, faults[0][1], faults[0][0])
        try:
            State.serving = State.entries[entry](settings)
        except Exception as error:
            raise Err(told(error, ErrorCode.INVALID_CONFIG)) from error


class Discretization:
    def sigmas(self, n):
        few(n)
        return call(lambda entry: list(entry.sigmas(n)))


class SigmaSampling:
    def draw(self):
        from wit_world.exports.sigma_sampling import DrawKind

        return DrawKind[getattr(State.serving, "draw", "uniform").upper()]

    def sample(self, draws):
        few(len(draws))
        return call(lambda entry: [entry.sigma(draw) for draw in draws])


class Guidance:
    def scales(self, sigmas, num_frames, num_views):
        few(len(sigmas) * num_frames)
        return call(lambda entry: list(entry.scales(sigmas, num_frames, num_views)))


class Run:
    """Noise and progress of one sampling run."""

    def __init__(self, noise):
        self._noise = noise

    def gaussian(self):
        """Standard normal noise like the latent, the next of the run's stream."""
        return self._noise.gaussian()

    def lincomb(self, terms):
        """The sum of each coefficient times its latent, from a list of pairs."""
        from wit_world.imports.tensors import Latent

        return Latent.lincomb(terms)

    def progress(self, step, sigmas):
        """To be told after step `step`, counted from 0, of the solver over `sigmas`; ends the run when the user asks."""
        from wit_world.imports import tensors

        if not tensors.progress(step + 1, len(sigmas) - 1, sigmas[step + 1]):
            raise failure(ErrorCode.CANCELLED, "the run was stopped")


class Sampling:
    def estimate(self, num_steps):
        from wit_world.exports.sampling import Cost

        if State.serving is None:
            return Cost(0, 0, False)
        return Cost(**State.serving.estimate(num_steps))

    def sample(self, x, sigmas, rng):
        return call(lambda entry: entry.sample(x, sigmas, Run(rng)))


class LearningRate:
    def factors(self, first, count):
        few(count)
        if first + count > 2**64:
            raise failure(ErrorCode.INVALID_ARGUMENT, "the block of steps ends past the last u64")
        return call(lambda entry: [entry.factor(step) for step in range(first, first + count)])


class Weighting:
    def weights(self, sigmas):
        few(len(sigmas))
        if any(map(math.isnan, sigmas)):
            raise failure(ErrorCode.INVALID_ARGUMENT, "a sigma is no number")
        return call(lambda entry: [entry.weight(sigma) for sigma in sigmas])
