/**
 * An ordinary function. It calls four upstreams with plain `fetch` and reports what it got; it has never heard of Outrider.
 *
 * The event is `{ "order": "A-1" }`; the base URLs come from the environment.
 */
const { PAYMENTS_URL, STOCK_URL, SEARCH_URL, ORDERS_URL } = process.env;

export const handler = async ({ order }) => {
  const report = {
    payments: await call(`${PAYMENTS_URL}/invoices/${order}`),
    stock: await call(`${STOCK_URL}/items/${order}`),
    orders: await call(`${ORDERS_URL}/orders/${order}`),
  };
  // A page with thirty suggestions, all asked for at once.
  const searches = Array.from({ length: 30 }, (_, at) => `${SEARCH_URL}/suggestions/${order}/${at}`);
  const startedMs = performance.now();
  report.search = { calls: await Promise.all(searches.map(call)), ms: performance.now() - startedMs };
  // Fifty calls one after another, to see what one of them takes.
  report.lookups = [];
  for (let at = 0; at < 50; at++)
    report.lookups.push(await call(`${ORDERS_URL}/orders/${order}/lines/${at}`));
  return report;
};

/** The status and the body of a GET, or the code of the error that `fetch` threw; and how long it took. */
async function call(url) {
  const startedMs = performance.now();
  const outcome = await fetch(url).then(
    async (response) => ({ status: response.status, body: await response.text() }),
    (error) => ({ error: error.cause?.code ?? error.message }),
  );
  return { ...outcome, ms: performance.now() - startedMs };
}
