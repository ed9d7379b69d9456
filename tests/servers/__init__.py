"""The real servers that tests run against: private ones, started on free ports of this machine and gone afterwards.

    fixtures -> PostgresServer RedisServer RedisCluster RabbitmqServer KafkaServer -> server -> process -> tree
                                                                                        |         |
                                                                                     install    guard

A machine's own services are never asked, started or stopped. A server is a directory below the system's temporary
one, ports that nothing else has, and the processes that run on them; it can be killed, paused, and started again where
it was.

What a test run starts ends with it, also when the run is killed: the guard, a process of its own, holds the list of
what runs and hears on a pipe that the run is gone.
"""
