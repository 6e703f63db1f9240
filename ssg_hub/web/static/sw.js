// The service worker: keeps the site for use without a network, isolates the page, which then may use threads, and gives
// the page's workers its policy: connections to this host only.
importScripts("./files.js"); // SITE; it changes with any file, and so does this worker

const CACHE = `ssg ${self.registration.scope} ${self.SITE.version}`;
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": self.SITE.policy };

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

self.addEventListener("install", event => event.waitUntil(keep(self.SITE.page).then(() => self.skipWaiting())));
self.addEventListener("activate", event => event.waitUntil((async () => {
  const own = `ssg ${self.registration.scope} `;
  for (const name of await caches.keys()) if (name.startsWith(own) && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));
self.addEventListener("message", event => {
  if (event.data.type === "activate") event.waitUntil(self.skipWaiting());
  if (event.data.type !== "keep") return;
  const names = [...self.SITE.model, ...self.SITE.runtime[event.data.engine]];
  event.waitUntil(keep(names).then(() => event.source.postMessage({ type: "kept" }), () => {})); // offline, or no room
});
self.addEventListener("fetch", event => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});
