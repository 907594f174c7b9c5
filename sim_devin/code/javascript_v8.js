// Runs in V8: answers what the engine of workflows has no data for. A request and its answer are
// JSON text; a request is {ask, …} and names things from fixed tables only.
(() => {
  const { parse, stringify } = JSON;
  const AsyncFunction = (async () => {}).constructor;
  const KEPT = 200; // formatters

  const read = ([kind, text]) => {
    switch (kind) {
      case "number":
        return text === "-0" ? -0 : Number(text);
      case "bigint":
        return BigInt(text);
      case "date":
        return new Date(Number(text));
      case "undefined":
        return undefined;
      default:
        return text; // a text, or a list of them
    }
  };
  const settings = (request) => [request.locales ?? undefined, request.options ?? undefined];

  const kept = new Map();
  const formatter = (request) => {
    const key = stringify([request.of, request.locales, request.options]);
    let made = kept.get(key);
    if (!made) {
      if (kept.size >= KEPT) kept.clear();
      kept.set(key, (made = new CLASSES[request.of](...settings(request))));
    }
    return made;
  };
  const CLASSES = { __proto__: null };
  for (const name of [
    "Collator",
    "DateTimeFormat",
    "DisplayNames",
    "ListFormat",
    "NumberFormat",
    "PluralRules",
    "RelativeTimeFormat",
    "Segmenter",
  ])
    CLASSES[name] = Intl[name];

  const LOCALE = [
    "baseName",
    "calendar",
    "caseFirst",
    "collation",
    "hourCycle",
    "language",
    "numberingSystem",
    "numeric",
    "region",
    "script",
  ];
  const locale = (request) => {
    const made = new Intl.Locale(...settings(request));
    const parts = Object.fromEntries(LOCALE.map((name) => [name, made[name]]));
    return { ...parts, text: String(made), maximal: String(made.maximize()), minimal: String(made.minimize()) };
  };

  const ASKS = {
    __proto__: null,
    // A method of a formatter.
    format(request) {
      const made = formatter(request);
      const given = request.args.map(read);
      if (request.method === "segment")
        return [...made.segment(given[0])].map(({ segment, index, isWordLike }) => ({ segment, index, isWordLike }));
      return made[request.method](...given);
    },
    // A method of a number, date or text that takes locales.
    value(request) {
      const value = read(request.args[0]);
      if (request.method === "localeCompare") return value.localeCompare(read(request.args[1]), ...settings(request));
      return value[request.method](...settings(request));
    },
    locale,
    canonical: (request) => Intl.getCanonicalLocales(request.locales ?? undefined),
    supported: (request) => CLASSES[request.of].supportedLocalesOf(...settings(request)),
    values: (request) => Intl.supportedValuesOf(request.of),
    json: (request) => parse(request.text),
    // Read and never run: a body of its own cannot end the function around it.
    syntax: (request) => void new AsyncFunction(request.text),
    pattern: (request) => new RegExp(request.text, request.flags ?? undefined).source,
  };

  return (text) => {
    const request = parse(text);
    try {
      return stringify({ value: ASKS[request.ask](request) });
    } catch (error) {
      return stringify({ error: error.name, message: error.message });
    }
  };
})();
