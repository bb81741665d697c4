// The page: one field a feature, and the answer as you type. Nothing leaves the browser.
import { check, predict } from "./predict.js";

const percent = (share) => `${(100 * share).toFixed(2)} %`;
const shown = ({ name, classes }, answer) => {
  if (name === "value") return String(Number(answer[0].toPrecision(6)));
  if (!classes.length) return percent(answer[0]);
  const ranked = classes.map((one, place) => [answer[place], one]).sort(([a], [b]) => b - a);
  return ranked.map(([share, one]) => `${one}: ${percent(share)}`).join("\n");
};
const at = (id) => document.getElementById(id);

try {
  const ort = await import("./ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  const model = await (await fetch("model.json")).json();
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  const known = model.checks.length;
  const worst = known ? await check(ort, session, model) : 0;
  const same = worst <= model.parity.threshold;
  document.title = at("name").textContent = `${model.model} ${model.version}`;
  at("state").textContent = !known
    ? "There are no known answers to compare: the model takes none of the rows that were made up."
    : same
    ? `${known} known answers come out the same here (largest difference ${worst.toExponential(1)}).`
    : `The known answers come out differently here, by ${worst}: do not use this model.`;

  const fields = model.features.map(({ name, kind }) => {
    const label = document.createElement("label");
    const field = document.createElement("input");
    field.type = kind === "number" ? "number" : "text";
    field.step = "any";
    field.placeholder = "not known";
    label.append(name, field);
    at("form").append(label);
    return { name, kind, field };
  });
  const show = async () => {
    const row = {};
    for (const { name, kind, field } of fields) {
      if (field.value !== "") row[name] = kind === "number" ? Number(field.value) : field.value;
    }
    const [answer] = await predict(ort, session, model, [row]);
    at("answer").textContent = answer.some(Number.isNaN)
      ? "The model does not take such a row."
      : shown(model.output, answer);
  };
  at("form").addEventListener("input", show);
  at("form").addEventListener("submit", (event) => event.preventDefault());
  await show();
} catch (error) {
  at("state").textContent = `The model cannot be loaded: ${error.message}. Are onnxruntime-web's files in ort/ (see README.md)?`;
}
