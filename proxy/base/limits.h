/*
 * Limits on memory, depth and time that users meet or folders share, each with its reason. What bounds one file's work
 * stands at the head of that file or of its folder's header; what a config may change, in policy/policy.h.
 */
#ifndef PV_LIMITS_H
#define PV_LIMITS_H

/* Protocol: PostgreSQL refuses a startup packet above this (protocol.h, MAX_STARTUP_PACKET_LENGTH). */
#define PV_STARTUP_BYTES_MAX 10000u
/* Small frontend messages (X C D E H S c f), as PostgreSQL's PQ_SMALL_MESSAGE_LIMIT. */
#define PV_SMALL_MESSAGE_BYTES_MAX 10000u
/* SASL messages, as PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH. */
#define PV_AUTH_MESSAGE_BYTES_MAX 65535u
/* Bind: parameters in one message. A clean room's parameters are small; 16 MiB is generous. */
#define PV_BIND_BYTES_MAX (16u * 1024u * 1024u)
/* Default of limits.query_bytes: SQL text in one message (4 MiB of tokens would cost the scanner 2 s). */
#define PV_QUERY_BYTES_DEFAULT (1024u * 1024u)
/* A body over its limit is skipped as it comes, held nowhere, up to this; PostgreSQL too ends a session beyond it. */
#define PV_SKIP_BYTES_MAX (1024u * 1024u * 1024u)
/* One message from the server that we must hold whole (errors, RowDescription); rows stream. */
#define PV_SERVER_HELD_BYTES_MAX (8u * 1024u * 1024u)
/* Identifiers, as PostgreSQL's NAMEDATALEN - 1. */
#define PV_NAME_BYTES_MAX 63u
/* Requests in flight in one session's pipeline before reading from the client pauses. */
#define PV_PIPELINE_MAX 4096u
/* Prepared statements and portals that one session may hold at a time. */
#define PV_PREPARED_MAX 10000u
#define PV_PORTALS_MAX 1000u
/* Parse tree: nested nodes (recursion in our walkers and printer stops here). */
#define PV_TREE_DEPTH_MAX 2000u
/* Parse tree: terms of left-deep operator chains (a + b + c …) along one path, beside the depth. */
#define PV_TREE_CHAIN_MAX 10000u
/* Parse tree: nodes of one statement. */
#define PV_TREE_NODES_MAX 200000u
/* Query levels (sub-queries, WITH queries, set operations, joins) nested in one another: the resolver recurses. */
#define PV_QUERY_LEVELS_MAX 500u
/* Statements in one simple query. */
#define PV_STATEMENTS_MAX 1000u
/* Stack of threads that parse: room for bison, our walkers at full depth, sanitizers. */
#define PV_PARSE_STACK_BYTES (64u * 1024u * 1024u)
/* SCRAM: iteration counts accepted from a server or a verifier. */
#define PV_SCRAM_ITERATIONS_MIN 4096u
#define PV_SCRAM_ITERATIONS_MAX 1000000u
/* Buffers between the two sockets of a session: reading a side stops above the high mark. */
#define PV_LINK_HIGH_BYTES (256u * 1024u)
#define PV_LINK_LOW_BYTES (64u * 1024u)
/* A client that pipelines without reading may make us hold this much, then 53400 ends it. */
#define PV_LINK_HELD_BYTES_MAX (64u * 1024u * 1024u)
/* Hosts of an upstream, and addresses of all of them: a login may have to try each in turn. */
#define PV_UPSTREAM_HOSTS_MAX 16u
#define PV_UPSTREAM_ADDRESSES_MAX 32u
/* Open files that clients do not get: refusals in words, connections to databases, the state. */
#define PV_RESERVED_DESCRIPTORS 64u
/* Records waiting for the audit writer before statements are refused with 58030. */
#define PV_AUDIT_QUEUE_MAX 65536u
/* The same in bytes: records hold query texts. */
#define PV_AUDIT_QUEUE_BYTES_MAX (64u * 1024u * 1024u)
/* Wait for another process's transaction on the state file; theirs take milliseconds. */
#define PV_AUDIT_BUSY_MS 2000u

#endif
