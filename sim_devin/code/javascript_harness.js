// Runs one piece of code inside a fresh engine context, and remembers how it ended.
//
// The value of this script is a function. Called with a request (JSON text) it starts the
// code; called with nothing it returns the report (JSON text), or undefined while the code
// still waits for a promise.
//
// What the code may later redefine is taken aside first, and every object of the report has no
// prototype, so that a changed built-in cannot forge a report.
(() => {
  const { parse, stringify } = JSON;
  const text = String;
  const compile = eval; // called by another name, eval sees globals only and is not strict
  const isError = (value) => value instanceof Error;

  const lines = [];
  let report;

  const shown = (value) => {
    if (typeof value !== "object") return text(value);
    try {
      return text(stringify(value));
    } catch {
      return text(value); // it refers to itself
    }
  };
  const print =
    (...label) =>
    (...values) => {
      lines[lines.length] = [...label, ...values.map(shown)].join(" ");
    };
  globalThis.console = {
    log: print(),
    info: print(),
    debug: print(),
    warn: print("WARN:"),
    error: print("ERROR:"),
  };
  globalThis.global = globalThis;

  const described = (thrown) => {
    try {
      if (isError(thrown)) {
        return { __proto__: null, name: text(thrown.name), message: text(thrown.message), stack: text(thrown.stack) };
      }
      if (typeof thrown === "object" && thrown !== null && typeof thrown.message === "string") {
        return { __proto__: null, name: text(thrown.name || "Error"), message: thrown.message };
      }
      return { __proto__: null, name: null, message: shown(thrown), none: thrown === null };
    } catch {
      return { __proto__: null, name: null, message: "an error that cannot be shown" };
    }
  };
  const finish = (stage, result) => {
    report = '{"stage":"memory"}'; // stays when there is no room for the real one
    report = stringify({ __proto__: null, stage, stdout: text(lines.join("\n")), ...result });
  };

  const run = async (code, bindings) => {
    let value;
    try {
      value = await code(bindings);
    } catch (thrown) {
      finish("run", { error: described(thrown) });
      return;
    }
    try {
      finish("done", { value });
    } catch (thrown) {
      finish("result", { error: described(thrown) });
    }
  };

  return (request) => {
    if (request === undefined) return report;
    let given;
    let code;
    try {
      given = parse(request);
      const { source, kind, names } = given;
      const declared = names ? `const {${names}} = arguments[0];` : "";
      // The code starts on the first line, so the lines of errors are those of the user's text.
      const body = kind === "expression" ? `return Boolean(${source}\n)` : source;
      code = compile(`(async function () {${declared}return await (async () => {${body}\n})()})`);
    } catch (thrown) {
      finish("compile", { error: described(thrown) });
      return undefined;
    }
    if (given.compileOnly) finish("done", {});
    else run(code, given.bindings);
    return undefined;
  };
})();
