// The service worker: keeps the site for use without a network, isolates the page, which then may use threads, and gives
// the page's workers its policy: connections to this host only.
importScripts("./files.js"); // SITE; it changes with any file, and so does this worker

const CACHE = `ssg ${self.registration.scope} ${self.SITE.version}`;
const { page, model, runtime } = self.SITE;
const OWN = new Set([...page, ...model, ...Object.values(runtime).flat()].map(name => new URL(name, self.registration.scope).href));
const isOwn = ({ url }) => OWN.has(url.replace(/[?#].*/, ""));
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "cross-origin", "Content-Security-Policy": self.SITE.policy };

// "no-cache" below: what the HTTP cache holds may be of an earlier version.
const keep = async names => {
  const cache = await caches.open(CACHE);
  for (const name of names)
    if (!(await cache.match(name))) await cache.add(new Request(name, { cache: "no-cache" }));
};
const answer = async request => {
  const cache = await caches.open(CACHE);
  const found = (await cache.match(request, { ignoreSearch: true })) ?? (await fetch(request, { cache: "no-cache" }));
  if (!found.status) return found; // a redirect to another page: the browser follows it, and asks again
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
};

self.addEventListener("install", event => event.waitUntil(keep(page)));
self.addEventListener("activate", event => event.waitUntil((async () => {
  const own = `ssg ${self.registration.scope} `;
  for (const name of await caches.keys()) if (name.startsWith(own) && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));
self.addEventListener("message", event => {
  const { type, engine } = event.data;
  if (type === "activate") event.waitUntil(takeOver());
  if (type === "keep") event.waitUntil(keep([...model, ...runtime[engine]]).then(() => event.source.postMessage({ type: "kept" }), () => {})); // offline, or no room
});
/** Take the place of an earlier version, unless other pages of the site are open that may still ask for files of that one. */
const takeOver = async () => {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (windows.filter(isOwn).length === 1) await self.skipWaiting();
};
self.addEventListener("fetch", event => {
  if (event.request.method === "GET" && isOwn(event.request)) event.respondWith(answer(event.request));
});
