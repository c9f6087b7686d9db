// The way to all of a store's servers: one connection, or in a Cluster one to each master that is
// needed, with commands going to the node that holds their keys.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/redis/cluster.hpp"
#include "store/redis/connection.hpp"

namespace kw::store::redis {

// One thread at a time. After any error it is closed.
class link {
  public:
    // `greeting` is sent to a node of a Cluster once connected, and again where it has forgotten a
    // script: SCRIPT LOAD of each. Nothing is sent to a single server.
    link(const target& to, std::chrono::milliseconds connect_timeout, pipeline greeting = {});

    // A single server is connected to; of a Cluster it is asked which nodes hold what.
    [[nodiscard]] result<void> open(deadline until);
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept;
    [[nodiscard]] bool is_cluster() const noexcept { return to_.cluster != nullptr; }

    // One reply for each command, as of a connection. In a Cluster a command goes to the node of
    // its key, one without a key with the next that has one, and what lies between MULTI and EXEC
    // to one node; redirections and forgotten scripts are seen to, so commands of different nodes
    // may take effect in any order.
    [[nodiscard]] result<std::vector<reply>> exchange(const pipeline& commands, deadline until);

    // Every server that holds keys, for commands without one. errc::store_unavailable.
    [[nodiscard]] result<std::vector<connection*>> all(deadline until);
    // The connection on which a key's node is talked to. errc::store_unavailable.
    [[nodiscard]] result<connection*> where(std::string_view key, deadline until);

  private:
    struct unit;
    [[nodiscard]] result<connection*> node(const place& at, deadline until);
    [[nodiscard]] result<void> round(std::vector<unit>& all, std::vector<reply>& out,
                                     deadline until);
    [[nodiscard]] error broken(error why);

    const target& to_;
    const std::chrono::milliseconds connect_timeout_;
    const pipeline greeting_;
    connection single_;
    std::shared_ptr<const cluster_map::view> view_;  // of a Cluster; null: closed
    std::map<place, std::unique_ptr<connection>> nodes_;
};

}  // namespace kw::store::redis
