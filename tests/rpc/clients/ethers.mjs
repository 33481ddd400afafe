// ethers 6 against a node: deploy, send, wait, read, filter logs, decode a revert, listen by WebSocket.
import { readFileSync } from "node:fs";
import { Contract, ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider } from "ethers";

const { url, abi, bytecode, key, start } = JSON.parse(readFileSync(0, "utf8"));
const provider = new JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
const wallet = new Wallet(key, provider);

const deployed = await new ContractFactory(abi, bytecode, wallet).deploy(start);
await deployed.waitForDeployment();
const address = await deployed.getAddress();

const socket = new WebSocketProvider(url.replace("http", "ws"));
const listening = new Contract(address, abi, socket);
const heard = new Promise((resolve) => listening.on("Counted", (who, total) => resolve(Number(total))));
await socket.send("eth_chainId", []); // after the subscription, which is sent at once
await new Promise((resolve) => setTimeout(resolve, 200));

const receipt = await (await deployed.add(4)).wait();
const block = await provider.getBlock(receipt.blockNumber, true);
const logs = await deployed.queryFilter(deployed.filters.Counted(wallet.address), 0, "latest");
const reason = await deployed.add.staticCall(0).catch((error) => error.reason);
const refusal = await deployed.add(0).catch((error) => error.reason);
const raised = await deployed.add(0, { gasLimit: 100_000 }).then((sent) => sent.wait()).catch((error) => error.receipt.status);

console.log(JSON.stringify({
  chain: Number((await provider.getNetwork()).chainId),
  deployed: (await provider.getCode(address)).length > 100,
  status: receipt.status,
  mined: block.transactions.includes(receipt.hash),
  count: Number(await deployed.count()),
  totals: logs.map((log) => Number(log.args.total)),
  heard: await heard,
  reason,
  refusal,
  raised,
}));
socket.destroy();
provider.destroy();
