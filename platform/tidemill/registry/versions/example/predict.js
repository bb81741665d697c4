// Runs the model in this folder by onnxruntime-web, in a page or in Node.

// A value that is missing or null is not known.
export async function predict(ort, session, features, rows) {
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
  const { probability } = await session.run(feeds);
  return Array.from(probability.data);
}

// The largest difference from the answers that are known.
export async function check(ort, session, model) {
  const found = await predict(ort, session, model.features, model.checks.map((one) => one.row));
  return Math.max(...found.map((value, number) => Math.abs(value - model.checks[number].probability)));
}
