// Runs the model in this folder by onnxruntime-web, in a page or in Node.

// Gives the numbers of each row: one, or one a class. A value that is missing or null is not known.
export async function predict(ort, session, model, rows) {
  const { features, output } = model;
  const numbers = features.filter((one) => one.kind === "number").map((one) => one.name);
  const words = features.filter((one) => one.kind === "word").map((one) => one.name);
  const feeds = {};
  if (numbers.length) {
    const values = rows.flatMap((row) => numbers.map((name) => row[name] ?? NaN));
    feeds.features = new ort.Tensor("float64", Float64Array.from(values), [rows.length, numbers.length]);
  }
  if (words.length) {
    const texts = rows.flatMap((row) => words.map((name) => row[name] ?? ""));
    feeds.words = new ort.Tensor("string", texts, [rows.length, words.length]);
  }
  const found = Array.from((await session.run(feeds))[output.name].data);
  const width = output.classes.length || 1;
  return rows.map((_, number) => found.slice(number * width, (number + 1) * width));
}

// The largest difference from the answers that are known.
export async function check(ort, session, model) {
  const found = await predict(ort, session, model, model.checks.map((one) => one.row));
  const known = model.checks.map((one) => [one[model.output.name]].flat());
  return Math.max(...found.flatMap((row, number) => row.map((value, place) => Math.abs(value - known[number][place]))));
}
