/*
 * The floor: what the kernel itself asks for one attachment of a pod. The same kernel calls as an ADD or
 * DEL of tripod-cni in routed mode with one IPv4 address, and nothing else: no configuration, no JSON, no
 * leases, no records, no checks, no undo. A bench compares the plugin with it, exec included.
 *
 * It is called like a plugin, and takes what a plugin would have decided from the environment:
 *   CNI_COMMAND      ADD or DEL
 *   CNI_CONTAINERID  at most 13 bytes are used: the host end is called "fl" and this
 *   CNI_NETNS        the sandbox, for ADD
 *   CNI_IFNAME       the pod's end
 *   FLOOR_ADDRESS    the pod's IPv4 address
 *   FLOOR_PORT       a TCP port of the host that leads to the pod; absent when there is none
 * and with a port, the nftables table inet floor must have been made (see the bench).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINK_GROUP 0x7470
#define PROTOCOL 84
#define NEXT_HOP "169.254.1.1"

/* Several requests leave in one send: the kernel works through them in order while it is being sent to,
 * and only the last asks for an answer. An error is answered always. */
static char requests[8192], answer[16384];
static size_t used;
static struct nlmsghdr *last;

static void fail(const char *what) {
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *need(const char *name) {
	const char *value = getenv(name);
	if (!value) {
		errno = EINVAL;
		fail(name);
	}
	return value;
}

static void *append(const void *bytes, size_t length) {
	void *at = requests + used;
	if (used + NLMSG_ALIGN(length) > sizeof requests) {
		errno = EMSGSIZE;
		fail("request");
	}
	memset(at, 0, NLMSG_ALIGN(length));
	if (bytes)
		memcpy(at, bytes, length);
	used += NLMSG_ALIGN(length);
	if (last)
		last->nlmsg_len = (uint32_t)(requests + used - (char *)last);
	return at;
}

static void *begin(uint16_t type, uint16_t flags, size_t header) {
	struct nlmsghdr start = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 1};
	last = NULL;
	last = append(&start, sizeof start);
	return append(NULL, header);
}

static void attribute(uint16_t type, const void *value, size_t length) {
	struct nlattr start = {.nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type};
	append(&start, sizeof start);
	append(value, length);
}

static void text(uint16_t type, const char *value) { attribute(type, value, strlen(value) + 1); }
static void number(uint16_t type, uint32_t value) { attribute(type, &value, sizeof value); }

static struct nlattr *nest(uint16_t type) {
	struct nlattr start = {.nla_type = type | NLA_F_NESTED};
	return append(&start, sizeof start);
}

static void end(struct nlattr *nested) { nested->nla_len = (uint16_t)(requests + used - (char *)nested); }

static int netlink(int protocol) {
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		fail("socket");
	return fd;
}

/* Sends what was collected. A first answer that is no acknowledgement stays in `answer`. */
static void flush(int fd, const char *what) {
	int found = 0;
	if (send(fd, requests, used, 0) < 0)
		fail(what);
	used = 0;
	last = NULL;
	while (!found) {
		ssize_t length = recv(fd, answer, sizeof answer, 0);
		if (length < 0)
			fail(what);
		struct nlmsghdr *message = (struct nlmsghdr *)answer;
		if (message->nlmsg_type != NLMSG_ERROR)
			return;
		errno = -((struct nlmsgerr *)NLMSG_DATA(message))->error;
		if (errno)
			fail(what);
		found = 1;
	}
}

static void get_link(const char *name) {
	begin(RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	text(IFLA_IFNAME, name);
}

static void create_veth(const char *host, const char *pod, int netns) {
	static const unsigned char host_mac[] = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
	unsigned char pod_mac[] = {2, 0, 0, 0, 0, 1};
	struct ifinfomsg *link = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
	link->ifi_flags = link->ifi_change = IFF_UP;
	text(IFLA_IFNAME, host);
	attribute(IFLA_ADDRESS, host_mac, sizeof host_mac);
	number(IFLA_MTU, 1500);
	number(IFLA_GROUP, LINK_GROUP);
	struct nlattr *info = nest(IFLA_LINKINFO);
	text(IFLA_INFO_KIND, "veth");
	struct nlattr *data = nest(IFLA_INFO_DATA), *peer = nest(VETH_INFO_PEER);
	append(NULL, sizeof(struct ifinfomsg));
	text(IFLA_IFNAME, pod);
	attribute(IFLA_ADDRESS, pod_mac, sizeof pod_mac);
	number(IFLA_MTU, 1500);
	number(IFLA_NET_NS_FD, (uint32_t)netns);
	end(peer), end(data), end(info);
	/* The kernel ignores an alias at creation. */
	begin(RTM_SETLINK, 0, sizeof *link);
	text(IFLA_IFNAME, host);
	text(IFLA_IFALIAS, host);
	get_link(host);
}

static void set_up(unsigned index) {
	struct ifinfomsg *link = begin(RTM_SETLINK, 0, sizeof *link);
	link->ifi_index = (int)index;
	link->ifi_flags = link->ifi_change = IFF_UP;
}

static void add_address(unsigned index, in_addr_t address) {
	struct ifaddrmsg *message = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *message);
	*message = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = index};
	number(IFA_LOCAL, address);
	number(IFA_ADDRESS, address);
}

static void add_neighbour(unsigned index, in_addr_t address, unsigned char last_byte) {
	unsigned char mac[] = {last_byte, 0, 0, 0, 0, 1};
	struct ndmsg *message = begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof *message);
	*message = (struct ndmsg){.ndm_family = AF_INET, .ndm_ifindex = (int)index, .ndm_state = NUD_PERMANENT};
	number(NDA_DST, address);
	attribute(NDA_LLADDR, mac, sizeof mac);
}

static void add_route(unsigned index, in_addr_t to, unsigned char length, in_addr_t gateway, uint16_t flags) {
	struct rtmsg *route = begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | flags, sizeof *route);
	*route = (struct rtmsg){
		.rtm_family = AF_INET,
		.rtm_dst_len = length,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = PROTOCOL,
		.rtm_type = RTN_UNICAST,
		.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_flags = gateway ? RTNH_F_ONLINK : 0,
	};
	number(RTA_DST, to);
	number(RTA_OIF, index);
	if (gateway)
		number(RTA_GATEWAY, gateway);
}

static void refuse_advertisements(const char *host) {
	char path[80];
	snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", host);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		fail(path);
	close(fd);
}

static void nft(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource) {
	struct nfgenmsg *message = begin(type, flags, sizeof *message);
	message->nfgen_family = family;
	message->res_id = htons(resource);
}

static void ask_for_guard(int netfilter) {
	nft(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, 0, NFPROTO_INET, 0);
	text(NFTA_CHAIN_TABLE, "tripod");
	text(NFTA_CHAIN_NAME, "guard");
	flush(netfilter, "guard chain");
}

static void element(uint16_t type, const char *set, const void *key, size_t key_length, const void *data,
                    size_t data_length) {
	nft((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0,
	    NFPROTO_INET, 0);
	text(NFTA_SET_ELEM_LIST_TABLE, "floor");
	text(NFTA_SET_ELEM_LIST_SET, set);
	struct nlattr *list = nest(NFTA_SET_ELEM_LIST_ELEMENTS), *one = nest(NFTA_LIST_ELEM);
	struct nlattr *value = nest(NFTA_SET_ELEM_KEY);
	attribute(NFTA_DATA_VALUE, key, key_length);
	end(value);
	if (data) {
		value = nest(NFTA_SET_ELEM_DATA);
		attribute(NFTA_DATA_VALUE, data, data_length);
		end(value);
	}
	end(one), end(list);
}

/* The port of any host address leads to the same port of the pod, and the pod may come back to itself. */
static void host_port(int netfilter, uint16_t type, in_addr_t pod) {
	const char *wanted = getenv("FLOOR_PORT");
	if (!wanted)
		return;
	uint32_t port = htons((uint16_t)atoi(wanted)), protocol = IPPROTO_TCP;
	uint32_t key[] = {protocol, port}, data[] = {pod, port}, hairpin[] = {pod, pod};
	nft(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES);
	int adding = type == NFT_MSG_NEWSETELEM;
	element(type, "ports", key, sizeof key, adding ? data : NULL, sizeof data);
	element(type, "hairpin", hairpin, sizeof hairpin, NULL, 0);
	last->nlmsg_flags |= NLM_F_ACK;
	nft(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES);
	flush(netfilter, "host port");
}

static void add(const char *host, in_addr_t address) {
	const char *pod = need("CNI_IFNAME");
	in_addr_t next_hop = inet_addr(NEXT_HOP);
	int netns = open(need("CNI_NETNS"), O_RDONLY | O_CLOEXEC);
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns < 0 || own < 0)
		fail("network namespace");
	int node = netlink(NETLINK_ROUTE), netfilter = netlink(NETLINK_NETFILTER);
	if (setns(netns, CLONE_NEWNET))
		fail("enter the sandbox");
	int sandbox = netlink(NETLINK_ROUTE);
	if (setns(own, CLONE_NEWNET))
		fail("leave the sandbox");

	ask_for_guard(netfilter);

	create_veth(host, pod, netns);
	flush(node, "veth");
	struct ifinfomsg *link = NLMSG_DATA(answer);
	unsigned index = (unsigned)link->ifi_index, pod_index = 0;
	struct rtattr *one = IFLA_RTA(link);
	int left = (int)IFLA_PAYLOAD((struct nlmsghdr *)answer);
	for (; RTA_OK(one, left); one = RTA_NEXT(one, left))
		if (one->rta_type == IFLA_LINK)
			pod_index = *(unsigned *)RTA_DATA(one);

	add_address(pod_index, address);
	set_up(pod_index);
	add_neighbour(pod_index, next_hop, 0xee);
	add_route(pod_index, 0, 0, next_hop, NLM_F_ACK);
	flush(sandbox, "pod end");

	refuse_advertisements(host);
	add_neighbour(index, address, 2);
	add_route(index, address, 32, 0, 0);
	/* Since Linux 6.8 asking for a link waits for its carrier to be noticed. */
	get_link(host);
	flush(node, "host end");
	host_port(netfilter, NFT_MSG_NEWSETELEM, address);
}

static void del(const char *host, in_addr_t address) {
	host_port(getenv("FLOOR_PORT") ? netlink(NETLINK_NETFILTER) : -1, NFT_MSG_DELSETELEM, address);
	begin(RTM_DELLINK, NLM_F_ACK, sizeof(struct ifinfomsg));
	text(IFLA_IFNAME, host);
	flush(netlink(NETLINK_ROUTE), "delete");
}

int main(void) {
	char host[IFNAMSIZ];
	snprintf(host, sizeof host, "fl%.13s", need("CNI_CONTAINERID"));
	in_addr_t address = inet_addr(need("FLOOR_ADDRESS"));
	(strcmp(need("CNI_COMMAND"), "ADD") ? del : add)(host, address);
	return 0;
}
