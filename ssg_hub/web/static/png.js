// Writing PNG. A canvas would store colours multiplied by alpha and lose them where alpha is low; this loses nothing.

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const KINDS = { 1: 0, 2: 4, 3: 2, 4: 6 }; // channels → colour type (PNG specification, 11.2.2)
const INDEXED = 3, PAETH = 4, STRIP = 2 ** 20; // bytes that are compressed at a time

/** Interleaved bytes as a PNG.
 * @param picture {data, width, height, channels}; with `palette` ([[r, g, b], …]) the bytes are indices
 * @returns {Promise<Blob>}
 */
export async function encodePng({ data, width, height, channels, palette }) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, palette ? INDEXED : KINDS[channels]);
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", new Uint8Array(header.buffer))];
  if (palette) parts.push(chunk("PLTE", Uint8Array.from(palette.flat())));
  for await (const body of deflate(filtered(data, width * channels, height, channels, palette ? 0 : PAETH))) parts.push(chunk("IDAT", body));
  parts.push(chunk("IEND", new Uint8Array()));
  return new Blob(parts, { type: "image/png" });
}

/** Strips of filtered rows. */
function* filtered(data, stride, height, channels, filter) {
  const rows = Math.max(1, Math.floor(STRIP / stride));
  for (let first = 0; first < height; first += rows) {
    const last = Math.min(height, first + rows), strip = new Uint8Array((last - first) * (stride + 1));
    for (let row = first, to = 0; row < last; row++) {
      strip[to++] = filter;
      const at = row * stride;
      if (!filter) {
        strip.set(data.subarray(at, at + stride), to);
        to += stride;
        continue;
      }
      for (let x = 0; x < stride; x++, to++) {
        const left = x >= channels ? data[at + x - channels] : 0, up = row ? data[at + x - stride] : 0;
        const corner = x >= channels && row ? data[at + x - stride - channels] : 0;
        const byLeft = Math.abs(up - corner), byUp = Math.abs(left - corner), byCorner = Math.abs(left + up - 2 * corner);
        strip[to] = data[at + x] - (byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner);
      }
    }
    yield strip;
  }
}

async function* deflate(strips) {
  const stream = new CompressionStream("deflate"), writer = stream.writable.getWriter(), reader = stream.readable.getReader();
  const writing = (async () => {
    for (const strip of strips) await writer.write(strip);
    await writer.close();
  })();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  await writing;
}

function chunk(name, body) {
  const bytes = new Uint8Array(body.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set([...name].map(letter => letter.charCodeAt(0)), 4);
  bytes.set(body, 8);
  let sum = 0xffffffff;
  for (let at = 4; at < body.length + 8; at++) sum = TABLE[(sum ^ bytes[at]) & 255] ^ (sum >>> 8);
  view.setUint32(body.length + 8, ~sum >>> 0);
  return bytes;
}
