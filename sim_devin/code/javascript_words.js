// The engine's errors in the words of V8, which people know from browsers, Node and Sim.
// Loaded for the first such error. `ask` has V8 answer, `locate` returns the text of the code that
// runs.
((ask, locate) => {
  const { defineProperty } = Object;

  // -- what stands at a place of the code: as V8 prints the expression that was called

  const CLOSING = { ")": "(", "]": "[", "}": "{" };
  const NAME = /[\w$\u0080-\uffff]/;
  const opening = (line, end) => {
    let depth = 0;
    for (let at = end; at >= 0; at--) {
      if (line[at] in CLOSING) depth++;
      else if ("([{".includes(line[at]) && --depth === 0) return at;
    }
    return -1;
  };
  // Returns the text of what ends right before `end`, simplified as V8 does.
  const before = (line, end) => {
    let at = end - 1;
    let rest = "";
    for (;;) {
      if (at < 0) return rest || "(intermediate value)";
      const char = line[at];
      if (char === ")" || char === "]" || char === "}") {
        const open = opening(line, at);
        if (open < 0) return `(intermediate value)${rest}`;
        const inside = line.slice(open + 1, at);
        const callee = open > 0 && (NAME.test(line[open - 1]) || ")]".includes(line[open - 1]));
        if (char === ")" && callee) rest = `(...)${rest}`;
        else if (char === "]" && callee) {
          const key = /^\s*(["'])(\w+)\1\s*$/.exec(inside);
          rest = key ? `.${key[2]}${rest}` : `[${/^\s*[\w$.]+\s*$/.test(inside) ? inside.trim() : "..."}]${rest}`;
        } else if (char === ")" && /^\s*-?[\w$.]+\s*$/.test(inside)) return inside.trim() + rest;
        else return (char === "]" ? `[${inside}]` : "(intermediate value)") + rest;
        at = open - 1;
      } else if (char === '"' || char === "'") {
        const open = line.lastIndexOf(char, at - 1);
        return `"${line.slice(open + 1, at)}"${rest}`;
      } else if (NAME.test(char)) {
        let start = at;
        while (start > 0 && NAME.test(line[start - 1])) start--;
        rest = line.slice(start, at + 1) + rest;
        at = start - 1;
        while (at >= 0 && line[at] === " ") at--;
        if (line[at] !== ".") return rest;
        at--;
        if (line[at] === "?") {
          at--;
          rest = `?.${rest}`;
        } else rest = `.${rest}`;
        while (at >= 0 && line[at] === " ") at--;
      } else return `(intermediate value)${rest}`;
    }
  };
  // Returns the end of the name that is called at a column, or -1.
  const nameEnd = (line, column) => {
    let at = column;
    while (at < line.length && /[\s.?(]/.test(line[at])) at++;
    const start = at;
    while (at < line.length && NAME.test(line[at])) at++;
    return at > start ? at : -1;
  };
  const callee = ({ line, column }) => {
    if (line === undefined) return "";
    for (const start of [column - 1, column]) {
      const end = nameEnd(line, start);
      if (end > 0 && /^\s*(?:\(|`|\?\.\()/.test(line.slice(end))) return before(line, end);
      if (end > 0 && /^\s*\)\s*\(/.test(line.slice(end))) return before(line, line.indexOf(")", end) + 1);
    }
    if (line[column - 1] === "[" || line[column] === "[") {
      const end = line.indexOf("]", column);
      if (end > 0 && line[end + 1] === "(") return before(line, end + 1);
    }
    return "";
  };
  const constructed = ({ line, column }) => {
    const made = /^\s*new\s+([\w$.]+)/.exec((line ?? "").slice(Math.max(0, (line ?? "").lastIndexOf("new ", column + 4))));
    return made ? made[1] : "(intermediate value)";
  };
  const property = ({ line, column }) => {
    const found = /^[\s.?]*([\w$]+)|^\[\s*["']?([\w$]+)/.exec((line ?? "").slice(column - 1));
    return found ? (found[1] ?? found[2]) : "";
  };
  // Returns the text of the first argument of a call of `name` on the line, where it is a literal.
  const argument = ({ line }, name) => {
    const at = (line ?? "").indexOf(`${name}(`);
    const found = at < 0 ? null : /^\s*(-?[\d.]+|"[^"]*"|'[^']*'|null|undefined|\))/.exec(line.slice(at + name.length + 1));
    return found ? (found[1] === ")" ? "undefined" : found[1]) : "";
  };
  const iterated = ({ line }) => {
    const found =
      /\bof\s+([\w$.]+|\{\}|-?\d+)\s*\)|\.\.\.\s*([\w$.]+|\{\})|\]\s*=\s*([\w$.]+|\{\}|-?\d+)/.exec(line ?? "");
    return found && (line.match(/\bof\s|\.\.\.|\]\s*=[^=]/g) ?? []).length === 1 ? (found[1] ?? found[2] ?? found[3]) : "";
  };
  const notIterable = (place, value) => {
    const { line, native } = place;
    if (native) {
      const given = argument(place, native) || value;
      const type = given === "null" ? "object" : /^-?[\d.]/.test(given) ? "number" : given === "undefined" ? "" : typeof given;
      if (given === "undefined") return "undefined is not iterable (cannot read property Symbol(Symbol.iterator))";
      return `${/^["']/.test(given) || !given ? "object" : type} ${given || "is"} is not iterable (cannot read property Symbol(Symbol.iterator))`.replace("object is is", "object is");
    }
    if (/\w\(\s*\.\.\./.test(line ?? "")) return "Spread syntax requires ...iterable[Symbol.iterator] to be a function";
    return `${iterated(place) || value || "object"} is not iterable`;
  };
  const destructured = ({ line }) => {
    const nested = /\{\s*[\w$]+\s*:\s*\{\s*([\w$]+)/.exec(line ?? "");
    if (nested) return `Cannot read properties of undefined (reading '${nested[1]}')`;
    const found = /\{\s*([\w$]+)[^{}]*\}\s*=\s*([\w$.]+)/.exec(line ?? "");
    const value = found && found[2] === "null" ? "null" : "undefined";
    const name = found ? found[1] : (/\(\s*\{\s*([\w$]+)/.exec(line ?? "") ?? [])[1];
    if (!name) return "Cannot destructure 'undefined' as it is undefined.";
    return `Cannot destructure property '${name}' of '${found ? found[2] : "undefined"}' as it is ${value}.`;
  };

  // -- the words

  const BINARY = "Cannot mix BigInt and other types, use explicit conversions";
  const RULES = [
    [/^cannot read property 'Symbol\.iterator' of (\w+)$/, (found, place) => notIterable(place, found[1])],
    [
      /^not a function$/,
      (_, place) => {
        const { native, line, column } = place;
        if (native === "Promise") return "Promise resolver undefined is not a function";
        if (native === "sort" || native === "toSorted")
          return "The comparison function must be either a function or undefined";
        if (native) return `${argument(place, native) || "undefined"} is not a function`;
        if (/\bnew\s+$/.test((line ?? "").slice(0, column + 1)) || /^\s*new\s/.test((line ?? "").slice(column - 5, column)))
          return `${constructed(place)} is not a constructor`;
        const called = callee(place);
        return called ? `${called} is not a function` : undefined;
      },
    ],
    [/^not a constructor$/, (_, place) => `${constructed(place)} is not a constructor`],
    [/^class constructors must be invoked with 'new'$/, (_, { first }) => `Class constructor ${first ?? ""} cannot be invoked without 'new'`],
    [/^must be called with new$/, (_, { native }) => native === "Promise" ? "Promise constructor cannot be invoked without 'new'" : `Constructor ${native} requires 'new'`],
    [/^empty array$/, "Reduce of empty array with no initial value"],
    [/^Cannot convert undefined or null to object$/, (_, place) => (place.native ? undefined : destructured(place))],
    [/^value is not iterable$/, (_, place) => notIterable(place, "")],
    [/^'(.*)' is read-only$/, (found, { line, column }) =>
      /^\??[.[]/.test((line ?? "").slice(column - 1))
        ? `Cannot assign to read only property '${found[1]}' of object '#<Object>'`
        : "Assignment to constant variable."],
    [/^no setter for property$/, (_, place) => `Cannot set property ${property(place)} of #<Object> which has only a getter`],
    [/^could not delete property$/, (_, place) => `Cannot delete property '${(/\bdelete\b[^;}]*\.([\w$]+)/.exec(place.line ?? "") ?? [])[1] ?? property(place)}' of #<Object>`],
    [/^object is not extensible$/, (_, place) => place.native ? `Cannot add property ${(/freeze\(\[([^\]]*)\]\)/.exec(place.line) ?? ["", ""])[1].split(",").length}, object is not extensible` : `Cannot add property ${property(place)}, object is not extensible`],
    [/^invalid 'in' operand$/, (_, { line }) => {
      const found = /(["'])(\w+)\1 in (["']?)([\w.]+)\3/.exec(line ?? "");
      return `Cannot use 'in' operator to search for '${found?.[2] ?? ""}' in ${found?.[4] ?? ""}`;
    }],
    [/^invalid 'instanceof' right operand$/, "Right-hand side of 'instanceof' is not an object"],
    [/^operand 'prototype' property is not an object$/, "Function has non-object prototype 'undefined' in instanceof check"],
    [/^cannot convert symbol to (string|number)$/, "Cannot convert a Symbol value to a $1"],
    [/^cannot convert BigInt to number$/, (_, { native }) => (native ? "Cannot convert a BigInt value to a number" : BINARY)],
    [/^cannot convert to BigInt$/, BINARY],
    [/^bigint argument with unary \+$/, "Cannot convert a BigInt value to a number"],
    [/^BigInt are forbidden in JSON\.stringify$/, "Do not know how to serialize a BigInt"],
    [/^cannot convert to BigInt: not an integer$/, (_, place) => `The number ${argument(place, "BigInt")} cannot be converted to a BigInt because it is not an integer`],
    [/^invalid BigInt literal$/, (_, place) => `Cannot convert ${argument(place, "BigInt").replace(/["']/g, "")} to a BigInt`],
    [/^BigInt division by zero$/, "Division by zero"],
    [/^not an object$/, (_, place) => {
      const { native } = place;
      if (native === "Proxy") return "Cannot create proxy with a non-object as target or handler";
      if (native === "setPrototypeOf") return "Object prototype may only be an Object or null: undefined";
      if (/^(?:Map|WeakMap|fromEntries)$/.test(native))
        return `Iterator value ${(/\(\s*\[\s*([^,\]]+)/.exec((place.line ?? "").slice((place.line ?? "").indexOf(native))) ?? [])[1] ?? "undefined"} is not an entry object`;
      if (/^(?:defineProperty|defineProperties|create)$/.test(native)) return `Object.${native} called on non-object`;
      return /^(?:ownKeys|get|set|has|getPrototypeOf|apply|construct)$/.test(native) ? `Reflect.${native} called on non-object` : undefined;
    }],
    [/^regexp must have the 'g' flag$/, (_, { native }) => `String.prototype.${native} called with a non-global RegExp argument`],
    [/^invalid array length$/, "Invalid array length"],
    [/^invalid repeat count$/, (_, place) => `Invalid count value: ${argument(place, "repeat")}`],
    [/^invalid number of digits$/, (_, { native }) => native === "toPrecision" ? "toPrecision() argument must be between 1 and 100" : `${native}() digits argument must be between 0 and 100`.replace("toExponential() digits argument", "toExponential() argument")],
    [/^invalid array index: (.*)$/, "Invalid index : $1"],
    [/^invalid array index$/, (_, place) => `Invalid typed array length: ${argument(place, place.native)}`],
    [/^invalid array buffer length$/, "Array buffer allocation failed"],
    [/^Date value is NaN$/, "Invalid time value"],
    [/^invalid code point$/, (_, place) => `Invalid code point ${argument(place, "fromCodePoint")}`],
    [/^bad normalization form$/, "The normalization form should be one of NFC, NFD, NFKC, NFKD."],
    [/^invalid string length$|^string too long$/, "Invalid string length"],
    [/^(.*) is not initialized$/, "Cannot access '$1' before initialization"],
    [/^(?:expecting hex digit|malformed UTF-8|invalid character|expecting surrogate pair)$/, "URI malformed"],
    [/^unexpected token in expression: ''$|^unexpected end of input$/i, "Unexpected end of input"],
    [/^unexpected token in expression: ('(?:[^\w"'`].*)')$/, "Unexpected token $1"],
    [/^unexpected token in expression: '([\d.].*)'$/, "Unexpected number"],
    [/^unexpected token in expression: ('.*')$/, "Unexpected token $1"],
    [/^unexpected end of string$/, "Invalid or unexpected token"],
    [/^invalid number literal$/, "Invalid or unexpected token"],
    [/^invalid assignment left-hand side$/, "Invalid left-hand side in assignment"],
    [/^return not in a function$/, "Illegal return statement"],
    [/^missing initializer for variable$/, "Missing initializer in const declaration"],
    [/^break must be inside loop or switch$/, "Illegal break statement"],
    [/^continue must be inside loop$/, "Illegal continue statement: no surrounding iteration statement"],
  ];
  const TYPES = new Set(["TypeError", "RangeError", "ReferenceError", "SyntaxError", "URIError", "AggregateError"]);

  const reworded = (error, place) => {
    const { message } = error;
    if (error.name === "AggregateError") return place.native && !message ? "All promises were rejected" : undefined;
    if (!TYPES.has(error.name) || typeof message !== "string") return undefined;
    for (const [pattern, words] of RULES) {
      const found = pattern.exec(message);
      if (found) return typeof words === "string" ? message.replace(pattern, words) : words(found, place);
    }
    return undefined;
  };

  // Returns V8's words for an error of the engine, or undefined to leave it as it is.
  const of = (error, frames) => {
    const native = frames[0]?.isNative() ? frames[0].getFunctionName() : "";
    const at = frames.find((site) => !site.isNative());
    const line = at && locate().split("\n")[at.getLineNumber() - 1];
    return reworded(error, { native, first: frames[0]?.getFunctionName(), line, column: at?.getColumnNumber() ?? 1 });
  };

  const say = (error, message) => {
    const { message: old, stack } = error;
    const written = typeof stack === "string" ? stack.replace(old, () => message) : stack;
    for (const [name, value] of [["message", message], ["stack", written]])
      defineProperty(error, name, { value, writable: true, configurable: true });
    return error;
  };
  // Says of a text that cannot be read what V8 says of it.
  const refused = (error, request) => {
    const { message } = error instanceof SyntaxError ? ask(request) : {};
    return typeof message === "string" ? say(error, message.replace(/ \(line \d+ column \d+\)$/, "")) : error;
  };
  const circular = (error, value) => (error?.message === "circular reference" ? say(error, circle(value)) : error);
  const circle = (value) => {
    const above = [];
    const named = (item) => `object with constructor '${item.constructor?.name ?? "Object"}'`;
    const step = (item, key) => (Array.isArray(item) ? `index ${key}` : `property '${key}'`);
    const search = (item) => {
      for (const key of Object.keys(item)) {
        const inner = item[key];
        if (typeof inner !== "object" || inner === null) continue;
        const from = inner === item ? above.length : above.findIndex(([one]) => one === inner);
        if (from >= 0) {
          const path = [...above.slice(from), [item, key]];
          const middle = path.slice(0, -1).map(([one, name], n) => `\n    |     ${step(one, name)} -> ${named(path[n + 1][0])}`);
          if (middle.length > 2) middle.splice(1, middle.length - 2, "\n    |     ...");
          return `\n    --> starting at ${named(inner)}${middle.join("")}\n    --- ${step(item, key)} closes the circle`;
        }
        above.push([item, key]);
        const found = search(inner);
        above.pop();
        if (found) return found;
      }
      return "";
    };
    return `Converting circular structure to JSON${search(value)}`;
  };
  return { of, refused, circular };
});
