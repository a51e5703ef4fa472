// Where the other members' pages are, as far as this browser gets there. Whoever came through a forwarded port or a proxy reaches the
// member behind it and nobody else: the others' own addresses lead nowhere from there, so they are no links then.

const isLoopback = (host) => host === "localhost" || host === "[::1]" || host.startsWith("127.");

// Whether this page came by the host that the member calls its own; undefined as long as that is not known.
function cameDirectly(look) {
  const own = look.members.find((one) => one.ordinal === look.status.member)?.address;
  if (!own) return undefined;
  const host = new URL(own).hostname;
  return host === location.hostname || (isLoopback(host) && isLoopback(location.hostname));
}

// The page of another member, if a link leads there.
export function pageOf(look, member) {
  const other = member.ordinal !== look.status.member;
  return other && member.address && cameDirectly(look) ? `${member.address}/dashboard` : undefined;
}

// The command that brings this browser to another member's page, if no link does: for the next one that has an address.
export function commandElsewhere(look) {
  if (cameDirectly(look) !== false) return undefined;
  const others = look.members.filter((one) => one.address && one.ordinal !== look.status.member);
  const next = others.find((one) => one.ordinal > look.status.member) ?? others[0];
  if (!next) return undefined;
  const namespace = look.status.store.split("/")[0];
  const there = new URL(next.address).port || "80";
  const here = location.port || there;
  return `kubectl port-forward --namespace ${namespace} pod/${next.name} ${here === there ? there : `${here}:${there}`}`;
}
