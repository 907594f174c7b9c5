// Intl and the methods that take locales, for the engine of workflows: `ask` has V8 answer.
// Loaded when code first uses one of them.
((answer, NativeDate) => {
  const { isArray, from } = Array;
  const { defineProperty, assign, create, entries, fromEntries } = Object;
  const text = String;
  const valueOf = NativeDate.prototype.getTime;

  const ERRORS = { RangeError, SyntaxError, TypeError };
  const ask = (request) => {
    const reply = answer(request);
    if (reply.error !== undefined) throw new (ERRORS[reply.error] ?? Error)(reply.message);
    return reply.value;
  };

  const encoded = (value) => {
    if (typeof value === "number") return ["number", value === 0 && 1 / value < 0 ? "-0" : text(value)];
    if (typeof value === "bigint") return ["bigint", text(value)];
    if (value === undefined) return ["undefined"];
    return ["text", text(value)];
  };
  const moment = (value) =>
    value === undefined ? ["undefined"] : ["number", text(typeof value === "object" ? +value : Number(value))];
  const numeric = (value) => {
    const primitive = typeof value === "object" && value !== null ? value.valueOf() : value;
    return encoded(typeof primitive === "object" || typeof primitive === "boolean" ? Number(primitive) : primitive);
  };
  const list = (value) => ["list", from(value, (item) => text(item))];
  const localesOf = (locales) => {
    if (locales === undefined) return undefined;
    if (locales === null) throw new TypeError("Cannot convert undefined or null to object");
    return typeof locales === "string" || locales instanceof Locale ? text(locales) : from(locales, text);
  };
  const optionsOf = (options) => {
    if (options === undefined) return undefined;
    if (options === null) throw new TypeError("Cannot convert undefined or null to object");
    const read = {};
    for (const name in Object(options)) {
      const value = options[name];
      if (value !== undefined) read[name] = typeof value === "number" && value - value !== 0 ? text(value) : value;
    }
    return read;
  };
  const settings = (locales, options) => ({ locales: localesOf(locales), options: optionsOf(options) });

  const hide = (target, members) => {
    for (const [name, value] of entries(members))
      defineProperty(target, name, { value, writable: true, configurable: true });
  };
  const tag = (target, name) =>
    defineProperty(target, Symbol.toStringTag, { value: name, configurable: true });

  const Intl = {};
  const states = new WeakMap();
  const stateOf = (self, name, method) => {
    const state = states.get(self);
    if (!state || state.of !== name)
      throw new TypeError(`Method Intl.${name}.prototype.${method} called on incompatible receiver ${text(self)}`);
    return state;
  };

  // name: {callable, methods: {name: [encoders of its arguments]}, bound: method read as a getter}
  const CLASSES = {
    Collator: { callable: true, bound: "compare", bindings: [encoded, encoded] },
    DateTimeFormat: {
      callable: true,
      bound: "format",
      bindings: [moment],
      methods: { formatToParts: [moment], formatRange: [moment, moment], formatRangeToParts: [moment, moment] },
    },
    DisplayNames: { methods: { of: [encoded] } },
    ListFormat: { methods: { format: [list], formatToParts: [list] } },
    NumberFormat: {
      callable: true,
      bound: "format",
      bindings: [numeric],
      methods: { formatToParts: [numeric], formatRange: [numeric, numeric], formatRangeToParts: [numeric, numeric] },
    },
    PluralRules: { methods: { select: [numeric], selectRange: [numeric, numeric] } },
    RelativeTimeFormat: { methods: { format: [numeric, encoded], formatToParts: [numeric, encoded] } },
    Segmenter: { methods: {} },
  };
  for (const [name, { callable, methods = {}, bound, bindings }] of entries(CLASSES)) {
    const call = (state, method, encoders, given) =>
      ask({ ask: "format", of: name, method, ...state.settings, args: encoders.map((encode, n) => encode(given[n])) });
    const made = {
      [name]: function () {
        if (!new.target && !callable) throw new TypeError(`Constructor Intl.${name} requires 'new'`);
        const self = new.target ? this : create(made.prototype);
        const state = { of: name, settings: settings(arguments[0], arguments[1]) };
        state.resolved = call(state, "resolvedOptions", [], []);
        states.set(self, state);
        return self;
      },
    }[name];
    defineProperty(made, "length", { value: 0, configurable: true });
    hide(made, {
      supportedLocalesOf(locales, options) {
        return ask({ ask: "supported", of: name, ...settings(locales, options) });
      },
    });
    hide(made.prototype, {
      resolvedOptions() {
        return { ...stateOf(this, name, "resolvedOptions").resolved };
      },
    });
    for (const [method, encoders] of entries(methods)) {
      const run = {
        [method]: function () {
          return call(stateOf(this, name, method), method, encoders, arguments);
        },
      }[method];
      hide(made.prototype, { [method]: run });
    }
    if (bound)
      defineProperty(made.prototype, bound, {
        configurable: true,
        get() {
          const state = stateOf(this, name, bound);
          if (bound === "compare") state.bound ??= (a, b) => compare(text(a), text(b), state.settings, state.resolved);
          return (state.bound ??= (...given) => call(state, bound, bindings, given));
        },
      });
    tag(made.prototype, `Intl.${name}`);
    hide(Intl, { [name]: made });
  }
  hide(Intl.Segmenter.prototype, {
    segment(input) {
      const state = stateOf(this, "Segmenter", "segment");
      const whole = text(input);
      const found = ask({ ask: "format", of: "Segmenter", method: "segment", ...state.settings, args: [encoded(whole)] });
      const segments = found.map((part) => ({ segment: part.segment, index: part.index, input: whole, ...part }));
      return {
        [Symbol.iterator]: () => segments[Symbol.iterator](),
        containing: (index = 0) =>
          segments.find((part) => part.index <= index && index < part.index + part.segment.length),
      };
    },
  });

  class Locale {
    #parts;
    constructor(tag, options) {
      if (typeof tag !== "string" && !(tag instanceof Locale))
        throw new TypeError("First argument to Intl.Locale constructor can't be empty or missing");
      this.#parts = ask({ ask: "locale", locales: text(tag), options: optionsOf(options) });
      for (const name of ["text", "maximal", "minimal"]) defineProperty(this.#parts, name, { enumerable: false });
    }
    toString() {
      return this.#parts.text;
    }
    maximize() {
      return new Locale(this.#parts.maximal);
    }
    minimize() {
      return new Locale(this.#parts.minimal);
    }
    static part(self, name) {
      return self.#parts[name];
    }
  }
  const { part } = Locale;
  delete Locale.part;
  for (const name of [
    ..."baseName calendar caseFirst collation hourCycle language numberingSystem numeric region script".split(" "),
  ])
    defineProperty(Locale.prototype, name, {
      configurable: true,
      get() {
        return part(this, name);
      },
    });
  tag(Locale.prototype, "Intl.Locale");
  hide(Intl, {
    Locale,
    getCanonicalLocales: (locales) => ask({ ask: "canonical", locales: localesOf(locales) }),
    supportedValuesOf: (key) => ask({ ask: "values", of: text(key) }),
  });
  tag(Intl, "Intl");

  // Texts of ASCII, with accents or without, compare alike in most languages: no need to ask.
  const ORDER = "\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
  const weights = new Map([...ORDER].map((char, n) => [char, n + 1]));
  const PLAIN = /^[\t-\r -~]*$/;
  const ACCENTED = /^[\t-\r -~\u0300-\u0304\u0306-\u030c\u0327\u0328]*$/;
  const ALIKE = /^(?:en|de|fr|it|nl|pt)(?:-[A-Z]{2})?$/;
  const first = (a, b) => {
    const least = a.length < b.length ? a.length : b.length;
    for (let n = 0; n < least; n++) {
      const one = weights.get(a[n]);
      const other = weights.get(b[n]);
      if (one !== other) return one < other ? -1 : 1;
    }
    return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
  };
  const compared = new Map();
  const compare = (a, b, chosen, resolved) => {
    if (a === b) return 0;
    const alike = resolved
      ? ALIKE.test(resolved.locale) && !resolved.numeric && !resolved.ignorePunctuation &&
        resolved.usage === "sort" && resolved.sensitivity === "variant" && resolved.caseFirst === "false" &&
        resolved.collation === "default"
      : chosen.options === undefined && (chosen.locales === undefined || ALIKE.test(chosen.locales));
    if (alike) {
      let [one, other] = [a, b];
      if (!PLAIN.test(a) || !PLAIN.test(b)) [one, other] = [a.normalize("NFD"), b.normalize("NFD")];
      if (ACCENTED.test(one) && ACCENTED.test(other)) {
        const plain = (value) => value.replace(/[\u0300-\u0328]/g, "").toLowerCase();
        const by = first(plain(one), plain(other));
        if (by) return by;
        if (one === a && other === b)
          for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return a[n] > b[n] ? -1 : 1;
      }
    }
    const key = JSON.stringify([a, b, chosen]);
    let result = compared.get(key);
    if (result === undefined) {
      if (compared.size > 50_000) compared.clear();
      result = ask({ ask: "value", method: "localeCompare", args: [encoded(a), encoded(b)], ...chosen });
      compared.set(key, result);
    }
    return result;
  };

  const written = (method, read) =>
    ({
      [method](locales, options) {
        return ask({ ask: "value", method, args: [read(this)], ...settings(locales, options) });
      },
    })[method];
  const date = (self) => ["date", text(valueOf.call(self))];
  for (const method of ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"])
    hide(NativeDate.prototype, { [method]: written(method, date) });
  const { valueOf: number } = Number.prototype;
  const { valueOf: bigint } = BigInt.prototype;
  const { valueOf: string } = String.prototype;
  hide(Number.prototype, { toLocaleString: written("toLocaleString", (self) => encoded(number.call(self))) });
  hide(BigInt.prototype, { toLocaleString: written("toLocaleString", (self) => encoded(bigint.call(self))) });
  for (const [method, plain] of [["toLocaleUpperCase", "toUpperCase"], ["toLocaleLowerCase", "toLowerCase"]]) {
    const run = written(method, encoded);
    hide(String.prototype, {
      [method](locales) {
        const self = text(this);
        return locales === undefined ? self[plain]() : run.call(self, locales);
      },
    });
  }
  hide(String.prototype, {
    localeCompare(that, locales, options) {
      return compare(text(this), text(that), settings(locales, options));
    },
  });
  hide(Array.prototype, {
    toLocaleString(locales, options) {
      return from(this, (item) =>
        item === null || item === undefined ? "" : item.toLocaleString(locales, options),
      ).join(",");
    },
  });
  return Intl;
});
