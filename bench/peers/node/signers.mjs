// Signers of other projects as peers of `make bench-sign`, in one warm process.
// Arguments: folder with key.pem, chain.pem, signer.p12 (password "bench"), URL of the timestamp authority.
// A line in: implementation, level, seconds of warm-up, repetitions, input, output. A line out: milliseconds of processor
// for one signature, or the word "error" and a reason.
import { createPrivateKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const [folder, tsa] = process.argv.slice(2);
const p12 = readFileSync(`${folder}/signer.p12`);

async function libpdf() {
  const { PDF, P12Signer, HttpTimestampAuthority } = await import(require.resolve("@libpdf/core").replace(/index\.cjs$/, "index.mjs"));
  const signer = await P12Signer.create(new Uint8Array(p12), "bench");
  const timestampAuthority = new HttpTimestampAuthority(tsa);
  return async (data, level) => {
    const pdf = await PDF.load(new Uint8Array(data));
    const { bytes } = await pdf.sign({ signer, level, ...(level === "B-B" ? {} : { timestampAuthority }) });
    return Buffer.from(bytes);
  };
}

async function placeholder() {
  const { plainAddPlaceholder } = require("@signpdf/placeholder-plain");
  return (data) =>
    plainAddPlaceholder({
      pdfBuffer: data, reason: "bench", contactInfo: "-", name: "-", location: "-", signatureLength: 8192,
      subFilter: "ETSI.CAdES.detached",
    });
}

async function signpdf() {
  const { SignPdf } = require("@signpdf/signpdf");
  const { P12Signer } = require("@signpdf/signer-p12");
  const add = await placeholder();
  const old = readFileSync(`${folder}/old.p12`);
  if (createPrivateKey(readFileSync(`${folder}/key.pem`)).asymmetricKeyType === "ec")
    throw new Error("node-forge, which it signs with, knows no elliptic curves");
  const sign = new SignPdf();
  return (data, level) => {
    if (level !== "B-B") throw new Error("no timestamps");
    // A signer reads its file to the end and cannot do it twice.
    return sign.sign(add(data), new P12Signer(old, { passphrase: "bench" }));
  };
}

async function documenso() {
  const { signWithPrivateKey } = require("@documenso/pdf-sign");
  const add = await placeholder();
  const cert = readFileSync(`${folder}/chain.pem`), privateKey = readFileSync(`${folder}/key.pem`);
  return (data, level) => {
    if (level === "B-LTA") throw new Error("no validation data");
    const prepared = add(data);
    const start = prepared.lastIndexOf("/Contents <") + 10;
    const end = prepared.indexOf(">", start) + 1;
    const place = prepared.lastIndexOf("/ByteRange [");
    const room = prepared.indexOf("]", place) + 1 - place;
    const range = `/ByteRange [0 ${start} ${end} ${prepared.length - end}]`.padEnd(room);
    prepared.write(range, place, "latin1");
    const content = Buffer.concat([prepared.subarray(0, start), prepared.subarray(end)]);
    const options = { content, cert, privateKey };
    if (level === "B-T") options.timestampServer = tsa;
    const hex = signWithPrivateKey(options).toString("hex");
    prepared.write(hex.padEnd(end - start - 2, "0"), start + 1, "latin1");
    return prepared;
  };
}

const makers = { libpdf, signpdf, documenso };
const made = {};
const spent = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, level, warm, often, input, output] = line.split(" ");
  try {
    made[name] ??= await makers[name]();
    const data = readFileSync(input);
    const until = performance.now() + 1000 * Number(warm);
    let signed = await made[name](Buffer.from(data), level);
    while (performance.now() < until) signed = await made[name](Buffer.from(data), level);
    const before = spent();
    for (let i = 0; i < Number(often); i++) signed = await made[name](Buffer.from(data), level);
    const took = (spent() - before) / Number(often);
    writeFileSync(output, signed);
    console.log(took);
  } catch (fault) {
    console.log("error " + String(fault.message ?? fault).split("\n")[0]);
  }
}
