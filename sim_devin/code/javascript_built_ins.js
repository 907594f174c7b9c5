// Built-ins as V8 has them, where the engine of workflows has others or none. A section is loaded
// for code that mentions its name, since every evaluation pays for what it loads.

//# tools
((compile, host, running, { parse, stringify }) => {
  const HIDDEN = 20_000; // lines above what is no code of the user's, more than any code has
  const own = new WeakSet([parse, stringify]); // functions that stand for built-ins
  let words;
  let line; // of the latest error
  const define = (target, name, value) => {
    if (typeof value === "function") own.add(value);
    Object.defineProperty(target, name, { value, writable: true, configurable: true });
  };
  const ask = (request) => parse(host("ask", stringify(request)));
  const load = (name) => compile("\n".repeat(HIDDEN) + host("load", name));
  const worded = () => (words ??= load("words")(ask, running));
  const isHidden = (site) => site.getLineNumber() >= HIDDEN || own.has(site.getFunction());
  const stand = (native, construct, apply) => {
    const proxy = new Proxy(native, { construct, apply });
    for (const one of [construct, apply]) own.add(one);
    define(native.prototype, "constructor", proxy);
    define(globalThis, native.name, proxy);
  };

  const ENGINES = /^(?:[a-z']|BigInt |Date value|Cannot convert undefined|$)/; // its messages
  const PROPERTY = /^cannot (read|set) property '([^]*)' of (\w+)$/;
  // Gives an error the words of V8, and returns its stack as V8 writes it.
  const stack = (error, sites) => {
    line = sites[0]?.getLineNumber(); // of a text that cannot be read: the place in it
    if (error instanceof SyntaxError && sites.length && !sites[0].getFunction()) sites.shift();
    const frames = sites.filter((site) => !isHidden(site));
    const { name, message } = error;
    if (name !== "Error" && ENGINES.test(message)) {
      const found = PROPERTY.exec(message);
      const words =
        found && found[2] !== "Symbol.iterator"
          ? `Cannot ${found[1]} properties of ${found[3]} (${found[1] === "set" ? "setting" : "reading"} '${found[2]}')`
          : worded().of(error, frames);
      if (words !== undefined) define(error, "message", words);
    }
    const written = frames.map((site) =>
      site.isNative()
        ? `\n    at ${site.getFunctionName()} (<anonymous>)`
        : `\n    at ${site.getFunctionName() ?? "<anonymous>"} (<input>:${site.getLineNumber()}:${site.getColumnNumber()})`,
    );
    return (error.message ? `${name}: ${error.message}` : name) + written.join("");
  };

  // Returns what is known of code that does not parse: its line, and V8's words.
  const unread = (error, body) => {
    const at = line;
    if (error instanceof SyntaxError) worded().refused(error, { ask: "syntax", text: body });
    return { line: at, message: error.message };
  };
  // Returns the error of a text or value that JSON cannot take, in V8's words.
  const unwritten = (error, name, value) =>
    name === "parse" ? worded().refused(error, { ask: "json", text: `${value}` }) : worded().circular(error, value);
  return { stack, unread, unwritten, install: (name) => compile(host("load", name))(define, { load, ask, worded, stand }) };
});

//# RegExp
((define, { worded, stand }) => {
  const Native = RegExp;
  const make = (_, given, target) => {
    try {
      return Reflect.construct(Native, given, target);
    } catch (error) {
      const [pattern, flags] = given;
      throw worded().refused(error, { ask: "pattern", text: `${pattern?.source ?? pattern ?? ""}`, flags: flags && `${flags}` });
    }
  };
  stand(Native, make, (_, __, given) => make(_, given, Native));
});

//# Date
((define, { stand }) => {
  const Native = Date;
  const { parse, prototype } = Native;
  // The engine knows no small t and z, and takes any number for the day beside a month's name.
  const read = (written) => {
    if (/^\d{4}-.*\d(t|z$)/.test(written)) written = written.toUpperCase();
    const [, before, after] = /^(?:(\d+) [a-z]{3,}|[a-z]{3,} (\d+),?) \d{4}\b/i.exec(written) ?? [];
    return (before ?? after) > 31 ? NaN : parse(written);
  };
  define(Native, "parse", (written) => read(`${written}`));
  const make = (_, given, target) =>
    Reflect.construct(Native, given.length === 1 && typeof given[0] === "string" ? [read(given[0])] : given, target);
  stand(Native, make, () => `${new Native()}`);
  for (const name of ["toString", "toTimeString"]) {
    const native = prototype[name];
    define(prototype, name, function () {
      return native.call(this).replace(" GMT+0000", " GMT+0000 (Coordinated Universal Time)");
    });
  }
});

//# cbrt
((define) => {
  const { cbrt, round } = Math;
  define(Math, "cbrt", (number) => {
    const root = cbrt(number);
    return round(root) ** 3 === +number ? round(root) : root; // the engine's is off by one bit
  });
});

//# locale
((define, { load, ask }) => {
  let intl;
  const loaded = () => (intl ??= load("intl")(ask, Date));
  Object.defineProperty(globalThis, "Intl", {
    configurable: true,
    get: loaded,
    set: (value) => define(globalThis, "Intl", value),
  });
  for (const [target, ...names] of [
    [Date.prototype, "toLocaleString", "toLocaleDateString", "toLocaleTimeString"],
    [Number.prototype, "toLocaleString"],
    [BigInt.prototype, "toLocaleString"],
    [Array.prototype, "toLocaleString"],
    [String.prototype, "localeCompare", "toLocaleUpperCase", "toLocaleLowerCase"],
  ])
    for (const name of names)
      define(target, name, function (...given) {
        loaded();
        return target[name].apply(this, given);
      });
});
