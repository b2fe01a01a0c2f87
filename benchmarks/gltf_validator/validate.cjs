// {name: GLB as hex} on stdin, {name: the validator's report} on stdout; the package's folder is the one argument.
const validator = require(process.argv[2]);
const files = JSON.parse(require("fs").readFileSync(0, "utf8"));

async function main() {
  const reports = {};
  for (const [name, hex] of Object.entries(files)) {
    reports[name] = await validator.validateBytes(new Uint8Array(Buffer.from(hex, "hex")), { uri: name });
  }
  process.stdout.write(JSON.stringify(reports));
}

main();
