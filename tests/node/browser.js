// A person with Chromium, who knows the address of the app in express.js and the proxy's authority, and nothing else:
//   node browser.js CHROMIUM NAME PORT
// HOME has a certificate database with the authority. Prints what was seen, as JSON.
const puppeteer = require('puppeteer-core');

async function main(executablePath, name, port) {
  const browser = await puppeteer.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--disable-background-networking',
      '--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60000);
    const told = {};
    const first = await page.goto(`https://${name}:${port}/`);
    told.asked = first.url();
    told.hops = first.request().redirectChain().map((hop) => hop.url());
    told.protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
    await page.type('#user', 'ann');
    await Promise.all([page.waitForNavigation(), page.click('#go')]);
    told.landed = page.url();
    told.user = await page.$eval('#user', (element) => element.textContent);
    await page.goto(`https://${name}:${port}/`);
    told.again = page.url();
    told.cookies = (await browser.cookies())
      .map(({ name, domain, secure, httpOnly }) => ({ name, domain, secure, httpOnly }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    // Each event is asked for when the one before was seen.
    told.events = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const seen = [];
          const source = new EventSource('/events');
          source.onerror = () => reject(new Error(`after ${seen}`));
          source.onmessage = (event) => {
            seen.push(`${event.lastEventId} ${event.data}`);
            if (seen.length < 3) fetch('/events/next', { method: 'POST' });
            else resolve(seen);
          };
        }),
    );
    console.log(JSON.stringify(told));
  } finally {
    await browser.close();
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
