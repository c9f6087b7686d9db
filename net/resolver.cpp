// The helper threads with their queue, and each loop's cache of what they found.
#include "net/resolver.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

namespace kw::net {
namespace {

constexpr std::size_t max_addresses = 16;

error dns_error(std::string what) {
    return error(errc::upstream_dns_error, std::move(what), error_source::upstream,
                 retry_class::other_key);
}

result<std::vector<ip_address>> system_lookup(const std::string& host) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (rc != 0) return dns_error(host + ": " + ::gai_strerror(rc));
    std::vector<ip_address> found;
    for (const addrinfo* a = list; a && found.size() < max_addresses; a = a->ai_next) {
        ip_address ip;
        if (a->ai_family == AF_INET) {
            sockaddr_in in{};
            std::memcpy(&in, a->ai_addr, sizeof in);
            std::array<std::uint8_t, 4> b{};
            std::memcpy(b.data(), &in.sin_addr, b.size());
            ip = ip_address::v4(b);
        } else if (a->ai_family == AF_INET6) {
            sockaddr_in6 in{};
            std::memcpy(&in, a->ai_addr, sizeof in);
            std::array<std::uint8_t, 16> b{};
            std::memcpy(b.data(), &in.sin6_addr, b.size());
            ip = ip_address::v6(b);
        } else {
            continue;
        }
        if (std::find(found.begin(), found.end(), ip) == found.end()) found.push_back(ip);
    }
    ::freeaddrinfo(list);
    if (found.empty()) return dns_error(host + ": no address");
    return found;
}

}  // namespace

struct resolver::state {
    struct job {
        std::string host;
        std::vector<dns_cache*> askers;
        bool running = false;
    };

    options opts;
    std::mutex mutex;
    std::condition_variable more;
    std::deque<std::shared_ptr<job>> jobs;  // guarded; those that run stay until they are answered
    bool stopped = false;                   // guarded
    std::size_t busy = 0;                   // guarded; threads inside a lookup

    // false: the queue is full.
    bool ask(const std::string& host, dns_cache* asker) {
        const std::lock_guard lock(mutex);
        for (auto& j : jobs) {
            if (j->host != host) continue;
            j->askers.push_back(asker);
            return true;
        }
        if (jobs.size() >= opts.max_queued) return false;
        jobs.push_back(std::make_shared<job>(job{host, {asker}, false}));
        more.notify_one();
        return true;
    }

    void forget(const dns_cache* asker) {
        const std::lock_guard lock(mutex);
        for (auto& j : jobs)
            std::erase(j->askers, asker);
    }

    void work() {
        std::unique_lock lock(mutex);
        for (;;) {
            std::shared_ptr<job> mine;
            more.wait(lock, [&] {
                if (stopped) return true;
                const auto at = std::find_if(jobs.begin(), jobs.end(),
                                             [](const auto& j) { return !j->running; });
                if (at != jobs.end()) mine = *at;
                return mine != nullptr;
            });
            if (stopped) return;
            mine->running = true;
            ++busy;
            lock.unlock();
            const auto found = opts.look_up(mine->host);
            lock.lock();
            --busy;
            std::erase(jobs, mine);
            // Under the lock: a cache that goes has itself forgotten first, so each here is alive.
            for (dns_cache* asker : mine->askers)
                asker->loop_.post(
                    [asker, alive = std::weak_ptr<void>(asker->alive_), host = mine->host, found] {
                        if (!alive.expired()) asker->finish(host, found);
                    });
        }
    }
};

resolver::resolver() : resolver(options{}) {}

resolver::resolver(options opts) : state_(std::make_shared<state>()) {
    if (!opts.look_up) opts.look_up = system_lookup;
    state_->opts = std::move(opts);
    for (unsigned i = 0; i < std::max(1U, state_->opts.threads); ++i) {
        // Detached, owning the state: one that hangs in the system's resolver must not hold up the
        // process's end.
        std::thread thread([s = state_] { s->work(); });
        ::pthread_setname_np(thread.native_handle(), "kw-dns");
        thread.detach();
    }
}

resolver::~resolver() {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    state_->more.notify_all();
}

// ---- dns_cache ----

struct dns_cache::entry {
    address_list addresses;   // null: none known
    std::string failure;      // why not
    mono_time looked_up{};    // when addresses or failure came
    mono_time retry_after{};  // after a failed refresh
    bool known = false;
    bool asking = false;
    std::vector<waiter*> waiting;
};

dns_cache::dns_cache(loop& on, resolver& from) : dns_cache(on, from, options{}) {}

dns_cache::dns_cache(loop& on, resolver& from, const options& opts)
    : loop_(on), resolver_(from.state_), options_(opts), alive_(std::make_shared<int>(0)) {}

dns_cache::~dns_cache() {
    resolver_->forget(this);
}

bool dns_cache::refresh(const std::string& host, entry& e) {
    if (!e.asking) e.asking = resolver_->ask(host, this);
    return e.asking;
}

void dns_cache::finish(const std::string& host, const result<std::vector<ip_address>>& found) {
    const auto at = entries_.find(host);
    if (at == entries_.end()) return;
    entry& e = *at->second;
    e.asking = false;
    if (found && !found->empty()) {
        e.addresses = std::make_shared<const std::vector<ip_address>>(*found);
        e.failure.clear();
        e.known = true;
        e.looked_up = loop_.now();
    } else {
        e.failure = found ? host + ": no address" : found.error().context;
        // Old addresses serve on until they are too stale; the time stays theirs.
        if (!e.addresses || loop_.now() - e.looked_up >= options_.stale_for) {
            e.addresses.reset();
            e.known = true;
            e.looked_up = loop_.now();
        } else {
            e.retry_after = loop_.now() + options_.negative_for;
        }
    }
    for (waiter* w : e.waiting)
        w->wake();
}

task<result<address_list>> dns_cache::resolve(std::string host, mono_time deadline) {
    if (const auto literal = ip_address::parse(host))
        co_return std::make_shared<const std::vector<ip_address>>(1, *literal);

    auto at = entries_.find(host);
    if (at == entries_.end()) {
        if (entries_.size() >= options_.max_names) {
            std::erase_if(entries_, [](const auto& item) {
                return item.second->waiting.empty() && !item.second->asking;
            });
            if (entries_.size() >= options_.max_names)
                co_return dns_error("too many names are being resolved");
        }
        at = entries_.emplace(host, std::make_shared<entry>()).first;
    }
    const std::shared_ptr<entry> e = at->second;

    const auto age = loop_.now() - e->looked_up;
    if (e->known && e->addresses) {
        if (age < options_.fresh_for) co_return e->addresses;
        if (age < options_.stale_for) {
            if (loop_.now() >= e->retry_after) refresh(host, *e);
            co_return e->addresses;
        }
    } else if (e->known && age < options_.negative_for) {
        co_return dns_error(e->failure);
    }

    if (waiting_ >= options_.max_waiting || !refresh(host, *e))
        co_return dns_error(host + ": too many lookups wait");
    waiter w(loop_);
    // Also when this coroutine is destroyed in mid-wait.
    struct place {
        dns_cache& cache;
        entry& in;
        waiter* w;
        ~place() {
            std::erase(in.waiting, w);
            --cache.waiting_;
        }
    } const mine{*this, *e, &w};
    e->waiting.push_back(&w);
    ++waiting_;
    const events got = co_await w.wait(woken, deadline);
    if (got & timed_out) co_return dns_error(host + ": no answer in time");
    if (!e->addresses) co_return dns_error(e->failure);
    co_return e->addresses;
}

}  // namespace kw::net
