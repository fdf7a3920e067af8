package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kadm asks of a broker beyond topics and groups, and a consumer in a fetch session.
func administer(ctx context.Context, bootstrap string) error {
	const topic = "go-admin"
	cl, err := client(bootstrap, kgo.ClientID("go-admin"))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, 3, 1, nil, topic); err != nil {
		return err
	}
	if err := describeDirectories(ctx, adm, topic); err != nil {
		return fmt.Errorf("log directories: %w", err)
	}
	if err := askForReplicas(ctx, adm, topic); err != nil {
		return fmt.Errorf("replicas: %w", err)
	}
	if err := askForQuorum(ctx, cl); err != nil {
		return fmt.Errorf("quorum: %w", err)
	}
	if err := alterBroker(ctx, adm); err != nil {
		return fmt.Errorf("broker configs: %w", err)
	}
	if err := limitClients(ctx, adm); err != nil {
		return fmt.Errorf("quotas: %w", err)
	}
	return fetchInSession(ctx, bootstrap, topic)
}

func expect(err, expected error) error {
	if !errors.Is(err, expected) {
		return fmt.Errorf("%v expected, not %v", expected, err)
	}
	return nil
}

func describeDirectories(ctx context.Context, adm *kadm.Client, topic string) error {
	all, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return err
	}
	for dir, described := range all[1] {
		if described.Err != nil || len(described.Topics[topic]) != 3 || described.UsableBytes <= 0 {
			return fmt.Errorf("%s: %+v", dir, described)
		}
		var here, elsewhere kadm.AlterReplicaLogDirsReq
		partition := kadm.TopicsSet{topic: {0: {}}}
		here.Add(dir, partition)
		if moved, err := adm.AlterAllReplicaLogDirs(ctx, here); err != nil || moved[1][topic][0].Err != nil {
			return fmt.Errorf("%v, %+v", err, moved)
		}
		elsewhere.Add("/elsewhere", partition)
		moved, err := adm.AlterAllReplicaLogDirs(ctx, elsewhere)
		if err != nil {
			return err
		}
		return expect(moved[1][topic][0].Err, kerr.LogDirNotFound)
	}
	return errors.New("no directory")
}

func askForReplicas(ctx context.Context, adm *kadm.Client, topic string) error {
	elected, err := adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{topic: {0: {}}})
	if err != nil {
		return err
	}
	if err := expect(elected[topic][0].Err, kerr.ElectionNotNeeded); err != nil {
		return err
	}
	var request kadm.AlterPartitionAssignmentsReq
	request.Assign(topic, 0, []int32{1})
	request.Assign(topic, 1, []int32{2})
	assigned, err := adm.AlterPartitionAssignments(ctx, request)
	if err != nil {
		return err
	}
	if err := assigned[topic][0].Err; err != nil {
		return err
	}
	if err := expect(assigned[topic][1].Err, kerr.InvalidReplicaAssignment); err != nil {
		return err
	}
	ongoing, err := adm.ListPartitionReassignments(ctx, kadm.TopicsSet{topic: {0: {}}})
	if err == nil && len(ongoing) != 0 {
		err = fmt.Errorf("reassignments %v", ongoing)
	}
	return err
}

func askForQuorum(ctx context.Context, cl *kgo.Client) error {
	request := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	partition := answer.Topics[0].Partitions[0]
	if partition.LeaderID != 1 || len(partition.CurrentVoters) != 1 || len(answer.Nodes) != 1 {
		return fmt.Errorf("%+v", answer)
	}
	return nil
}

func alterBroker(ctx context.Context, adm *kadm.Client) error {
	value := "1500000"
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.max.bytes", Value: &value}}
	altered, err := adm.AlterBrokerConfigs(ctx, change, 1)
	if err != nil || altered[0].Err != nil {
		return fmt.Errorf("%v, %+v", err, altered)
	}
	described, err := adm.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		return err
	}
	for _, config := range described[0].Configs {
		if config.Key == "message.max.bytes" && config.MaybeValue() == value {
			return nil
		}
	}
	return fmt.Errorf("not set: %+v", described)
}

func limitClients(ctx context.Context, adm *kadm.Client) error {
	name := "go-slow"
	entity := kadm.ClientQuotaEntity{{Type: "client-id", Name: &name}}
	set := kadm.AlterClientQuotaOp{Key: "consumer_byte_rate", Value: 1 << 20}
	for _, op := range []kadm.AlterClientQuotaOp{set, {Key: set.Key, Remove: true}} {
		altered, err := adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{op}}})
		if err != nil || altered[0].Err != nil {
			return fmt.Errorf("%v, %+v", err, altered)
		}
		described, err := adm.DescribeClientQuotas(ctx, false, nil)
		if err != nil {
			return err
		}
		shown := fmt.Sprint(described)
		if strings.Contains(shown, name) == op.Remove {
			return fmt.Errorf("removed %v: %s", op.Remove, shown)
		}
	}
	return nil
}

// Partitions come and go while the consumer stays in its session.
func fetchInSession(ctx context.Context, bootstrap, topic string) error {
	start := map[int32]kgo.Offset{0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}
	cl, err := client(bootstrap,
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: start}))
	if err != nil {
		return err
	}
	defer cl.Close()
	assigned := []int32{0, 1}
	for round := range 9 {
		switch round {
		case 3:
			cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {2: kgo.NewOffset().AtStart()}})
			assigned = []int32{0, 1, 2}
		case 6:
			cl.RemoveConsumePartitions(map[string][]int32{topic: {0}})
			assigned = []int32{1, 2}
		}
		value := fmt.Sprint("round ", round)
		for _, partition := range assigned {
			record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
			if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
				return err
			}
		}
		for seen := 0; seen < len(assigned); {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return fmt.Errorf("%s: %w", value, err)
			}
			for _, record := range fetches.Records() {
				if string(record.Value) != value {
					return fmt.Errorf("%s: %s of partition %d", value, record.Value, record.Partition)
				}
				seen++
			}
		}
	}
	return nil
}
