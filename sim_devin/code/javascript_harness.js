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
  const { host } = globalThis; // asks the process around the engine
  delete globalThis.host;

  const lines = [];
  let report;

  let running; // the text that runs
  let tools; // what only some code needs, loaded for it
  const need = () => (tools ??= compile(host("load", "tools"))(compile, host, () => running, JSON));
  Error.prepareStackTrace = (error, sites) => need().stack(error, sites);
  for (const name of ["parse", "stringify"]) {
    const native = JSON[name];
    JSON[name] = function (value, how, space) {
      try {
        return native(value, how, space);
      } catch (error) {
        throw need().unwritten(error, name, value);
      }
    };
  }

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

  let end; // how the code ended: [stage, what came of it]
  const run = async (code, bindings) => {
    try {
      end = ["done", { value: await code(bindings) }];
    } catch (thrown) {
      end = ["run", { error: described(thrown) }];
    }
  };
  const told = () => {
    if (end === undefined) return undefined;
    try {
      finish(end[0], end[1]);
    } catch (thrown) {
      finish("result", { error: described(thrown) });
    }
    return report;
  };

  return (request) => {
    if (request === undefined) return told();
    let given;
    let code;
    let body;
    try {
      given = parse(request);
      const { source, kind, names, builtIns } = given;
      const declared = names ? `const {${names}} = arguments[0];` : "";
      // The code starts on the first line, so the lines of errors are those of the user's text.
      body = kind === "expression" ? `return Boolean(${source}\n)` : source;
      running = `(async function () {${declared}return await (async () => {${body}\n})()})`;
      for (const name of builtIns) need().install(name);
      code = compile(running);
    } catch (thrown) {
      end = ["compile", { error: { ...described(thrown), ...tools?.unread(thrown, body) } }];
      return undefined;
    }
    if (given.compileOnly) end = ["done", {}];
    else run(code, given.bindings);
    return undefined;
  };
})();
