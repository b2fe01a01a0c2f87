// A KTX2 file on stdin as ktx-parse reads it: what its header and data format say, on stdout.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const packages = createRequire(process.argv[2] + "/");
const { read } = await import(pathToFileURL(packages.resolve("three/examples/jsm/libs/ktx-parse.module.js")).href);
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const file = read(new Uint8Array(Buffer.concat(chunks)));
const [block] = file.dataFormatDescriptor;
process.stdout.write(JSON.stringify({
  size: [file.pixelWidth, file.pixelHeight],
  scheme: file.supercompressionScheme,
  levels: file.levels.map((level) => [level.levelData.byteLength, level.uncompressedByteLength]),
  model: block.colorModel,
  transfer: block.transferFunction,
  told: file.keyValue,
}));
