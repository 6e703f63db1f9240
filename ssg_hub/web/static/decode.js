// Reading a picture: upright pixels in sRGB, straight alpha, and what its header says.

/** A file as {width, height, gray, color: RGB bytes, alpha: bytes or null, notes}.
 * @throws {Error} with a key of the texts: "unreadable", "too_large" or "no_pixels"
 */
export async function readPicture(file, mostPixels) {
  let head, bitmap;
  try {
    head = readHeader(new Uint8Array(await file.slice(0, 2 ** 18).arrayBuffer()));
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("unreadable");
  }
  const { width, height } = bitmap;
  let pixels;
  try {
    if (width * height > mostPixels) throw new Error("too_large");
    pixels = readPixels(bitmap);
  } finally {
    bitmap.close();
  }
  const color = new Uint8Array(width * height * 3), alpha = new Uint8Array(width * height);
  for (let at = 0; at < alpha.length; at++) {
    for (let channel = 0; channel < 3; channel++) color[3 * at + channel] = pixels[4 * at + channel];
    alpha[at] = pixels[4 * at + 3];
  }
  const opaque = !head.alpha && alpha.every(value => value === 255);
  return { width, height, gray: head.gray, color, alpha: opaque ? null : alpha, notes: head.deep ? ["deep"] : [] };
}

/** RGBA bytes in sRGB. */
function readPixels(bitmap) {
  if (!canvasIsHonest()) throw new Error("no_pixels");
  const { width, height } = bitmap, context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return straightPixels(bitmap, data);
  return data;
}

/** Whether a canvas gives back what was drawn, within the last bits: browsers that resist fingerprinting may give noise. */
function canvasIsHonest() {
  const context = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true }), color = [200, 30, 90, 255];
  context.fillStyle = `rgb(${color.slice(0, 3)})`;
  context.fillRect(0, 0, 8, 8);
  return context.getImageData(0, 0, 8, 8).data.every((value, at) => Math.abs(value - color[at % 4]) <= 8);
}

/** The same where there is alpha: a canvas multiplies colours by it and rounds, so that they are lost where it is low; a
 * texture keeps them. Those of the canvas are taken where there are no textures of this size, or where they differ. */
function straightPixels(bitmap, canvas) {
  const { width, height } = bitmap, gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return canvas;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const straight = new Uint8Array(canvas.length);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, straight);
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers allow few at a time
  const alike = straight.every((value, at) => Math.abs(value - canvas[at]) * (at % 4 < 3 ? canvas[at | 3] / 255 : 1) < 2);
  return alike ? straight : canvas;
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
    if (marker === 0xff) {
      at += 1; // bytes that fill up are allowed before a marker
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { ...found, gray: bytes[at + 9] === 1 };
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return found;
}
