// The table of query parameters.
#include "admin/query_params.hpp"

#include <array>

namespace kw::admin {
namespace {

using enum param_type;

constexpr query_param page{"page", "which page, from 1", number};
constexpr query_param limit{"limit", "items of a page", number};
constexpr query_param cursor{"cursor", "`next` of the page before"};
constexpr query_param from{"from", "not before this time", time};
constexpr query_param to{"to", "before this time", time};
constexpr query_param access_key{"access_key", "id of an access key"};
constexpr query_param upstream_key{"upstream_key", "id of an upstream key"};
constexpr query_param in_group{"group", "id of a group"};
constexpr query_param pool_group{"poolGroup", "id of a group"};
constexpr query_param model{"model", "a model's name"};
constexpr query_param key_status{"status", "state of the key", word,
                                 "active,cooling,quarantined,banned,disabled"};

constexpr std::array paged{page, limit};
constexpr std::array searched{query_param{"q", "somewhere in the names"}, page, limit};
constexpr std::array keys{key_status,
                          pool_group,
                          query_param{"q", "in id, alias, notes or account"},
                          query_param{"sort", "the order; - before it turns it round", word,
                                      "id,alias,created,status,uses,tokens,last_used"},
                          page,
                          limit};
constexpr std::array exported_keys{key_status};
constexpr std::array access_keys{query_param{"q", "in id, name or description"},
                                 query_param{"disabled", "disabled ones", word, "any,false,true"},
                                 query_param{"deleted", "deleted ones", word, "false,true,any"},
                                 query_param{"sort", "the order; - before it turns it round", word,
                                             "id,name,created,expires_at"},
                                 page,
                                 limit};
constexpr std::array purge{query_param{"purge", "for good", word, "false,true"}};
constexpr std::array leases{access_key, upstream_key, in_group, page, limit};
constexpr std::array queue{access_key, page, limit};
constexpr std::array audit{
    query_param{"actor", "id or name of who did it"},
    query_param{"event", "kind of entry", word, "change,call,export,login,logout,refused"},
    query_param{"action", "a part of method and route"},
    query_param{"subject", "id or kind of record"},
    query_param{"source", "an address"},
    query_param{"request_id", "of the call"},
    query_param{"q", "anywhere in the entry"},
    from,
    to,
    limit,
    cursor};
constexpr std::array csv{query_param{"kind", "what to export", word, "upstream_key,access_key"}};
constexpr std::array imported{
    query_param{"format", "of the document, where it does not tell by itself"},
    query_param{"mode", "what becomes of items that exist", word, "skip,overwrite"},
    query_param{"dry_run", "only tells what would be done", word, "false,true"},
    query_param{"group", "of keys that name none"}};
constexpr std::array usage{
    query_param{"by", "whose use", word, "all,access_key,upstream_key,group,provider,model"},
    query_param{"span", "length of a bucket", word, "day,hour,month,all"},
    query_param{"subject", "id or name of one"},
    from,
    to,
    page,
    limit};
constexpr std::array trend{query_param{"span", "length of a bucket", word, "hour,day"},
                           from,
                           to,
                           access_key,
                           upstream_key,
                           in_group,
                           query_param{"provider", "a provider's name"},
                           model};
constexpr std::array token_usage{
    query_param{"period", "of the figures", word, "month,day,all"},
    query_param{"forceRefresh", "changes nothing: figures are always fresh", word, "false,true"},
    pool_group, page, limit};
constexpr std::array requests{query_param{"request_id", "of the request"},
                              access_key,
                              upstream_key,
                              model,
                              query_param{"status", "the answer's", number},
                              query_param{"status_from", "the answer's, at least", number},
                              query_param{"status_to", "the answer's, at most", number},
                              from,
                              to,
                              query_param{"format", "of the answer", word, "json,csv"},
                              limit,
                              cursor};
constexpr std::array live_log{
    query_param{"level", "the least important lines", word, "trace,debug,info,warn,error"},
    query_param{"q", "somewhere in the line"}, query_param{"history", "lines from before", number}};

struct entry {
    std::string_view method;
    std::string_view path;
    std::span<const query_param> params;
};
constexpr entry table[] = {
    {"GET", "/admin/prices", searched},
    {"GET", "/admin/keys", keys},
    {"GET", "/admin/keys/export", exported_keys},
    {"GET", "/admin/pool-groups", searched},
    {"GET", "/admin/access-keys", access_keys},
    {"DELETE", "/admin/access-keys/{id}", purge},
    {"GET", "/admin/config/versions", paged},
    {"GET", "/admin/leases", leases},
    {"GET", "/admin/queue", queue},
    {"GET", "/admin/admins", searched},
    {"GET", "/admin/tokens", searched},
    {"GET", "/admin/audit", audit},
    {"GET", "/admin/refusals", paged},
    {"GET", "/admin/export/csv", csv},
    {"POST", "/admin/import", imported},
    {"GET", "/admin/usage", usage},
    {"GET", "/admin/stats/trend", trend},
    {"GET", "/admin/token/usage", token_usage},
    {"GET", "/admin/requests", requests},
    {"GET", "/admin/logs/stream", live_log},
};

}  // namespace

std::span<const query_param> query_params(std::string_view method, std::string_view path) noexcept {
    for (const auto& e : table)
        if (e.path == path && e.method == method) return e.params;
    return {};
}

}  // namespace kw::admin
