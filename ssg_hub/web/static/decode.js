// Reading a picture: upright pixels in sRGB, straight alpha, and what its header says.

/** A file as {width, height, gray, color: RGB bytes, alpha: bytes or null, notes}.
 * @throws {Error} with a key of the texts: "unreadable" or "too_large"
 */
export async function readPicture(file, mostPixels) {
  const head = readHeader(new Uint8Array(await file.slice(0, 2 ** 18).arrayBuffer()));
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("unreadable");
  }
  const { width, height } = bitmap;
  if (width * height > mostPixels) throw new Error("too_large");
  const pixels = await readPixels(bitmap);
  bitmap.close();
  const color = new Uint8Array(width * height * 3), alpha = new Uint8Array(width * height);
  for (let at = 0; at < alpha.length; at++) {
    for (let channel = 0; channel < 3; channel++) color[3 * at + channel] = pixels[4 * at + channel];
    alpha[at] = pixels[4 * at + 3];
  }
  const opaque = !head.alpha && alpha.every(value => value === 255);
  return { width, height, gray: head.gray, color, alpha: opaque ? null : alpha, notes: head.deep ? ["deep"] : [] };
}

/** RGBA bytes. A canvas multiplies colours by alpha and rounds; a video frame does not, where the browser has them. */
async function readPixels(bitmap) {
  const { width, height } = bitmap;
  try {
    const frame = new VideoFrame(bitmap, { timestamp: 0, alpha: "keep" });
    const pixels = new Uint8Array(width * height * 4);
    await frame.copyTo(pixels, { format: "RGBA", colorSpace: "srgb", layout: [{ offset: 0, stride: 4 * width }] });
    frame.close();
    return pixels;
  } catch {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height).data;
  }
}

/** Whether a PNG or JPEG is gray, has alpha, or more than 8 bits, which a browser's decoder does not say. */
export function readHeader(bytes) {
  const found = { gray: false, alpha: false, deep: false };
  if (bytes[0] === 0x89 && bytes[1] === 0x50) {
    const kind = bytes[25];
    return { gray: kind === 0 || kind === 4, alpha: kind >= 4, deep: bytes[24] === 16 };
  }
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return found;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { ...found, gray: bytes[at + 9] === 1 };
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return found;
}
